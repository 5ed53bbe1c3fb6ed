-- Once per database, on the primary: standbys get it by replication. Clients' passwords then need no copy in a file.
DO $$
BEGIN
  IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'pgbouncer_auth') THEN
    CREATE ROLE pgbouncer_auth LOGIN;  -- then: \password pgbouncer_auth
  END IF;
END
$$;
CREATE SCHEMA IF NOT EXISTS pgbouncer;
REVOKE ALL ON SCHEMA pgbouncer FROM PUBLIC;
GRANT USAGE ON SCHEMA pgbouncer TO pgbouncer_auth;

-- The search path is fixed, so that nobody's function or operator stands in for PostgreSQL's; a password that has run out
-- (VALID UNTIL) lets nobody in, and a superuser never comes through the pooler.
CREATE OR REPLACE FUNCTION pgbouncer.user_lookup(wanted text, OUT username text, OUT password text)
  RETURNS SETOF record LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog AS $$
  SELECT rolname::text, rolpassword FROM pg_authid
   WHERE rolname = wanted AND rolcanlogin AND NOT rolsuper AND (rolvaliduntil IS NULL OR rolvaliduntil > now())
$$;
REVOKE ALL ON FUNCTION pgbouncer.user_lookup(text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION pgbouncer.user_lookup(text) TO pgbouncer_auth;
