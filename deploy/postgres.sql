-- Run once, by the container's superuser: memrelay's own role is an ordinary one, so that row policies bind it.
CREATE EXTENSION vector;
CREATE ROLE memrelay LOGIN;
ALTER DATABASE memrelay OWNER TO memrelay;
