# At the first start of PostgreSQL: the role of Pegasus and its database. It is no superuser, for the walls between
# workspaces do not hold one.
psql --no-psqlrc --set=ON_ERROR_STOP=1 --username="$POSTGRES_USER" --dbname=postgres <<'SQL'
\set password `cat /run/secrets/database_password`
CREATE ROLE pegasus LOGIN PASSWORD :'password';
CREATE DATABASE pegasus OWNER pegasus TEMPLATE template0 ENCODING 'UTF8';
SQL
