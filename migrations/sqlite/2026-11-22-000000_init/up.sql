-- Ids are 16-byte blobs, moments are microseconds since 1970, JSON is text. The PostgreSQL twin has the same tables.

-- What the deployment remembers about itself: epoch, signing key, highest trimmed log position.
CREATE TABLE meta (
    key   TEXT PRIMARY KEY NOT NULL,
    value TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE companies (
    id       BLOB PRIMARY KEY NOT NULL,
    name     TEXT NOT NULL,
    logo_url TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE users (
    id              BLOB PRIMARY KEY NOT NULL,
    given_name      TEXT NOT NULL,
    family_name     TEXT NOT NULL,
    logo_url        TEXT NOT NULL,
    company_id      BLOB REFERENCES companies (id),
    active          INTEGER NOT NULL,
    access_position INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX users_company ON users (company_id, active, id);

CREATE TABLE campaigns (
    id         BLOB PRIMARY KEY NOT NULL,
    company_id BLOB NOT NULL REFERENCES companies (id),
    name       TEXT NOT NULL,
    open       INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE rooms (
    id                   BLOB PRIMARY KEY NOT NULL,
    company_id           BLOB NOT NULL REFERENCES companies (id),
    creator_id           BLOB NOT NULL REFERENCES users (id),
    selected_campaign_id BLOB REFERENCES campaigns (id),
    last_number          INTEGER NOT NULL,
    last_at              INTEGER NOT NULL,
    last_position        INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX rooms_pair ON rooms (creator_id, company_id);
CREATE INDEX rooms_of_creator ON rooms (creator_id, last_position);
CREATE INDEX rooms_of_company ON rooms (company_id, last_position);

CREATE TABLE attachments (
    id           BLOB PRIMARY KEY NOT NULL,
    object       BLOB NOT NULL,
    owner        BLOB NOT NULL,
    name         TEXT NOT NULL,
    content_type TEXT NOT NULL,
    size         INTEGER NOT NULL,
    sha256       BLOB NOT NULL,
    room_id      BLOB,
    at           INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX attachments_unattached ON attachments (owner) WHERE room_id IS NULL;

-- Bytes under way, or on their way out: whatever the object store may hold that no attachment names.
CREATE TABLE uploads (
    object   BLOB PRIMARY KEY NOT NULL,
    owner    BLOB NOT NULL,
    reserved INTEGER NOT NULL,
    at       INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX uploads_owner ON uploads (owner);

CREATE TABLE messages (
    room_id              BLOB NOT NULL REFERENCES rooms (id),
    number               INTEGER NOT NULL,
    id                   BLOB NOT NULL,
    from_user            BLOB NOT NULL,
    side                 TEXT NOT NULL,
    content              TEXT NOT NULL,
    step                 TEXT,
    attachment_id        BLOB,
    switched_to          BLOB,
    at                   INTEGER NOT NULL,
    selected_campaign_id BLOB,
    contract_version     INTEGER NOT NULL,
    fingerprint          BLOB NOT NULL,
    PRIMARY KEY (room_id, number)
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX messages_id ON messages (id);

CREATE TABLE contracts (
    room_id     BLOB NOT NULL,
    campaign_id BLOB NOT NULL,
    state       TEXT NOT NULL,
    payout      INTEGER NOT NULL,
    version     INTEGER NOT NULL,
    changed_by  BLOB NOT NULL,
    changed_in  INTEGER NOT NULL,
    declined    INTEGER NOT NULL,
    PRIMARY KEY (room_id, campaign_id)
) STRICT, WITHOUT ROWID;

-- Every state that a contract has been in; the newest equals the row in contracts.
CREATE TABLE contract_changes (
    room_id     BLOB NOT NULL,
    campaign_id BLOB NOT NULL,
    state       TEXT NOT NULL,
    payout      INTEGER NOT NULL,
    version     INTEGER NOT NULL,
    changed_by  BLOB NOT NULL,
    changed_in  INTEGER NOT NULL,
    declined    INTEGER NOT NULL,
    PRIMARY KEY (room_id, campaign_id, version)
) STRICT, WITHOUT ROWID;

-- How far people have seen rooms, and how active they were there. Whoever has no row has seen and done nothing.
CREATE TABLE participants (
    room_id     BLOB NOT NULL,
    user_id     BLOB NOT NULL,
    seen_till   INTEGER NOT NULL,
    last_wrote  INTEGER NOT NULL,
    last_viewed INTEGER NOT NULL,
    PRIMARY KEY (room_id, user_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX participants_active ON participants (room_id, last_wrote DESC, last_viewed DESC, user_id);

-- The one order: dense, total, in commit order. Bodies stand in their own tables.
CREATE TABLE log (
    position   INTEGER PRIMARY KEY NOT NULL,
    kind       TEXT NOT NULL,
    room_id    BLOB,
    creator_id BLOB,
    company_id BLOB,
    number     INTEGER,
    user_id    BLOB,
    at         INTEGER NOT NULL
) STRICT;
CREATE INDEX log_creator ON log (creator_id, position) WHERE creator_id IS NOT NULL;
CREATE INDEX log_company ON log (company_id, position) WHERE company_id IS NOT NULL;
