#!/bin/sh
# One user and one database each for Prefect and MLflow; run once, when the database is new.
set -eu
for name in prefect mlflow; do
  psql -v ON_ERROR_STOP=1 -U postgres -v name="$name" -v password="$POSTGRES_PASSWORD" <<'SQL'
CREATE ROLE :"name" LOGIN PASSWORD :'password';
CREATE DATABASE :"name" OWNER :"name";
SQL
done
