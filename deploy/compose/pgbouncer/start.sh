#!/bin/sh
# PgBouncer logs in as pgbouncer_auth with the password of secrets/pooler, as setup.sh gave it: written anew at each start,
# into memory.
set -eu
umask 077
printf '"pgbouncer_auth" "%s"\n' "$(sed 's/"/""/g' /run/secrets/pgkeeper/pooler)" > /tmp/userlist.txt
exec pgbouncer /etc/pgbouncer/pgbouncer.ini
