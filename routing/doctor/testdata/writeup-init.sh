#!/bin/bash
# rm -rf $PGDATA/* in a comment is nobody's mistake
rm -rf "$PGDATA"/*
rm -rf ${PGDATA}/*
PGPASSWORD=x pg_basebackup -h postgres-primary -D "$PGDATA" -U replicator -v -P -W
echo "max_standby_archive_delays = 30s" >> "$PGDATA/postgresql.conf"
psql -c "GRANT SELECT ON ALL TABLES IN SCHEMA public TO replicator;"
psql -c "SELECT EXTRACT(EPOCH FROM (now() - pg_last_xact_replay_timestamp()))"
sed "s/x/%REPLICA_NUM%/" template.yml | envsubst
aws rds create-db-instance-read-replica --db-instance-identifier r --count 3
gcloud sql instances create r --replica-count 3
az postgres flexible-server replica create --replica-name r --count 3
aws rds create-db-instance-read-replica \
  --db-instance-identifier r \
  # so many
  --count 3
pg_basebackup -h postgres-primary \
  -D "$PGDATA" -U replicator \
  -W
# aws rds create-db-instance-read-replica is no command here \
echo --count
docker run -e PGPOOL_BACKEND_HOSTNAME0=a \
  -e PGPOOL_BACKEND_HOSTNAME1=b pgpool/pgpool
