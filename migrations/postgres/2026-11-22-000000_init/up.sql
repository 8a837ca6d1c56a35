-- The SQLite twin has the same tables.

-- What the deployment remembers about itself: epoch, signing key, highest trimmed log position.
CREATE TABLE meta (
    key   text PRIMARY KEY,
    value text NOT NULL
);

CREATE TABLE companies (
    id       uuid PRIMARY KEY,
    name     text NOT NULL,
    logo_url text NOT NULL
);

CREATE TABLE users (
    id              uuid PRIMARY KEY,
    given_name      text NOT NULL,
    family_name     text NOT NULL,
    logo_url        text NOT NULL,
    company_id      uuid REFERENCES companies (id),
    active          boolean NOT NULL,
    access_position bigint NOT NULL
);
CREATE INDEX users_company ON users (company_id, active, id);

CREATE TABLE campaigns (
    id         uuid PRIMARY KEY,
    company_id uuid NOT NULL REFERENCES companies (id),
    name       text NOT NULL,
    open       boolean NOT NULL
);

CREATE TABLE rooms (
    id                   uuid PRIMARY KEY,
    company_id           uuid NOT NULL REFERENCES companies (id),
    creator_id           uuid NOT NULL REFERENCES users (id),
    selected_campaign_id uuid REFERENCES campaigns (id),
    last_number          bigint NOT NULL,
    last_at              timestamptz NOT NULL,
    last_position        bigint NOT NULL
) WITH (fillfactor = 70);
CREATE UNIQUE INDEX rooms_pair ON rooms (creator_id, company_id);
CREATE INDEX rooms_of_creator ON rooms (creator_id, last_position);
CREATE INDEX rooms_of_company ON rooms (company_id, last_position);

CREATE TABLE attachments (
    id           uuid PRIMARY KEY,
    object       uuid NOT NULL,
    owner        uuid NOT NULL,
    name         text NOT NULL,
    content_type text NOT NULL,
    size         bigint NOT NULL,
    sha256       bytea NOT NULL,
    room_id      uuid,
    at           timestamptz NOT NULL
);
CREATE INDEX attachments_unattached ON attachments (owner) WHERE room_id IS NULL;

-- Bytes under way, or on their way out: whatever the object store may hold that no attachment names.
CREATE TABLE uploads (
    object   uuid PRIMARY KEY,
    owner    uuid NOT NULL,
    reserved bigint NOT NULL,
    at       timestamptz NOT NULL
);
CREATE INDEX uploads_owner ON uploads (owner);

CREATE TABLE messages (
    room_id              uuid NOT NULL REFERENCES rooms (id),
    number               bigint NOT NULL,
    id                   uuid NOT NULL,
    from_user            uuid NOT NULL,
    side                 text NOT NULL,
    content              text NOT NULL,
    step                 jsonb,
    attachment_id        uuid,
    switched_to          uuid,
    at                   timestamptz NOT NULL,
    selected_campaign_id uuid,
    contract_version     bigint NOT NULL,
    fingerprint          bytea NOT NULL,
    PRIMARY KEY (room_id, number)
);
CREATE UNIQUE INDEX messages_id ON messages (id);

CREATE TABLE contracts (
    room_id     uuid NOT NULL,
    campaign_id uuid NOT NULL,
    state       text NOT NULL,
    payout      bigint NOT NULL,
    version     bigint NOT NULL,
    changed_by  uuid NOT NULL,
    changed_in  bigint NOT NULL,
    declined    boolean NOT NULL,
    PRIMARY KEY (room_id, campaign_id)
) WITH (fillfactor = 70);

-- Every state that a contract has been in; the newest equals the row in contracts.
CREATE TABLE contract_changes (
    room_id     uuid NOT NULL,
    campaign_id uuid NOT NULL,
    state       text NOT NULL,
    payout      bigint NOT NULL,
    version     bigint NOT NULL,
    changed_by  uuid NOT NULL,
    changed_in  bigint NOT NULL,
    declined    boolean NOT NULL,
    PRIMARY KEY (room_id, campaign_id, version)
);

-- How far people have seen rooms, and how active they were there. Whoever has no row has seen and done nothing.
CREATE TABLE participants (
    room_id     uuid NOT NULL,
    user_id     uuid NOT NULL,
    seen_till   bigint NOT NULL,
    last_wrote  bigint NOT NULL,
    last_viewed bigint NOT NULL,
    PRIMARY KEY (room_id, user_id)
) WITH (fillfactor = 70);
CREATE INDEX participants_active ON participants (room_id, last_wrote DESC, last_viewed DESC, user_id);

-- The one order: dense, total, in commit order. Bodies stand in their own tables.
CREATE TABLE log (
    position   bigint PRIMARY KEY,
    kind       text NOT NULL,
    room_id    uuid,
    creator_id uuid,
    company_id uuid,
    number     bigint,
    user_id    uuid,
    at         timestamptz NOT NULL
);
CREATE INDEX log_creator ON log (creator_id, position) WHERE creator_id IS NOT NULL;
CREATE INDEX log_company ON log (company_id, position) WHERE company_id IS NOT NULL;
