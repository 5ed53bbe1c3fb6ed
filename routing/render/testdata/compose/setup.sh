#!/bin/sh
# What the application needs: its role and database, and what PgBouncer looks passwords up with. Run by bootstrap.post_bootstrap
# of pgkeeper.yml before anybody can reach the new cluster, with a connection string as its argument. Running it again
# changes nothing but passwords:
#
#   docker-compose exec node sh -c 'PGPASSWORD=$(cat /run/secrets/pgkeeper/superuser) sh /etc/pgkeeper/setup.sh "host=haproxy port=5000 user=postgres dbname=postgres"'
set -eu
secret() { cat "/run/secrets/pgkeeper/$1"; }
psql -X -q -v ON_ERROR_STOP=1 -v app="$(secret app)" -v pooler="$(secret pooler)" -d "$1" <<'SQL'
SELECT 'CREATE ROLE web' WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'web') \gexec
SELECT 'CREATE ROLE pgbouncer_auth' WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'pgbouncer_auth') \gexec
ALTER ROLE web LOGIN PASSWORD :'app';
ALTER ROLE pgbouncer_auth LOGIN PASSWORD :'pooler';
SELECT 'CREATE DATABASE shop OWNER web' WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = 'shop') \gexec
\connect shop
CREATE SCHEMA IF NOT EXISTS pgbouncer;
REVOKE ALL ON SCHEMA pgbouncer FROM PUBLIC;
GRANT USAGE ON SCHEMA pgbouncer TO pgbouncer_auth;
CREATE OR REPLACE FUNCTION pgbouncer.user_lookup(wanted text, OUT username text, OUT password text)
  RETURNS SETOF record LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog AS $$
  SELECT rolname::text, rolpassword FROM pg_authid
   WHERE rolname = wanted AND rolcanlogin AND NOT rolsuper AND (rolvaliduntil IS NULL OR rolvaliduntil > now())
$$;
REVOKE ALL ON FUNCTION pgbouncer.user_lookup(text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION pgbouncer.user_lookup(text) TO pgbouncer_auth;
SQL
