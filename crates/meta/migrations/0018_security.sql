-- Users, roles and what roles may do. Names are what grants speak of, as in Milvus: a grant says what a call may do to
-- whatever has the name then, and is part of no snapshot.

-- Read with every change of any of these tables, and raised by it: who keeps a copy asks whether it is still right.
CREATE TABLE security (
    only_row BIGINT PRIMARY KEY CHECK (only_row = 1),
    version  BIGINT NOT NULL
);
INSERT INTO security (only_row, version) VALUES (1, 1);

CREATE TABLE users (
    name          TEXT   PRIMARY KEY,
    -- An argon2 hash as text (PHC), with its salt and costs.
    password_hash TEXT   NOT NULL,
    description   TEXT   NOT NULL,
    created_ms    BIGINT NOT NULL
);
-- Of the password Milvus, which is known to everybody; so is this salt.
INSERT INTO users (name, password_hash, description, created_ms) VALUES
    ('root', '$argon2id$v=19$m=19456,t=2,p=1$ZWxhbnVzLnJvb3Quc2FsdA$Krz8QULXL80W5+4F3gI/FSZLOIBw5980FWKslXw+0zI', '', 0);

CREATE TABLE roles (
    name        TEXT   PRIMARY KEY,
    description TEXT   NOT NULL,
    created_ms  BIGINT NOT NULL
);
-- admin may do everything; every user has the role public, without a row in role_members.
INSERT INTO roles (name, description, created_ms) VALUES ('admin', '', 0), ('public', '', 0);

CREATE TABLE role_members (
    user_name TEXT NOT NULL REFERENCES users,
    role_name TEXT NOT NULL REFERENCES roles,
    PRIMARY KEY (user_name, role_name)
);
CREATE INDEX role_members_role ON role_members (role_name);

CREATE TABLE grants (
    role_name   TEXT   NOT NULL REFERENCES roles,
    -- Collection, Global or User.
    object_type TEXT   NOT NULL,
    -- A database, or * for all; also of those that are created later.
    db_name     TEXT   NOT NULL,
    -- A collection or a user, or * for all.
    object_name TEXT   NOT NULL,
    -- A privilege, a group of them, All, or * for all of this type.
    privilege   TEXT   NOT NULL,
    -- Who gave it.
    grantor     TEXT   NOT NULL,
    created_ms  BIGINT NOT NULL,
    PRIMARY KEY (role_name, object_type, db_name, object_name, privilege)
);
-- As in Milvus: whoever is let in may look at collections and their indexes, until somebody revokes it.
INSERT INTO grants (role_name, object_type, db_name, object_name, privilege, grantor, created_ms) VALUES
    ('public', 'Global', '*', '*', 'DescribeCollection', 'root', 0),
    ('public', 'Global', '*', '*', 'ListAliases', 'root', 0),
    ('public', 'Collection', '*', '*', 'IndexDetail', 'root', 0);

-- Groups of privileges that users made; those that are built in have no rows.
CREATE TABLE privilege_groups (
    name            TEXT   PRIMARY KEY,
    privileges_json TEXT   NOT NULL,
    created_ms      BIGINT NOT NULL
);
