-- Erasing people: what was asked for, how far it is, and which ids are refused since.
CREATE SCHEMA erasure;

-- Digests of erased ids are made with it, so that nobody without it can try out whose they are.
CREATE TABLE erasure.secret (
    only_row bool PRIMARY KEY DEFAULT true CHECK (only_row),
    key bytea NOT NULL
);
INSERT INTO erasure.secret (key)
    VALUES (decode(replace(gen_random_uuid()::text || gen_random_uuid()::text, '-', ''), 'hex'));

CREATE TABLE erasure.requests (
    erasure_id uuid PRIMARY KEY,
    app_id uuid NOT NULL,
    requested_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    requested_by uuid NOT NULL,              -- the key's id
    frozen_at timestamptz NOT NULL DEFAULT clock_timestamp(),  -- when the last id was barred
    reason text,
    step text NOT NULL,                      -- domain/erasures.py: what is being done
    done jsonb NOT NULL DEFAULT '{}',        -- step -> when it was done
    counts jsonb NOT NULL DEFAULT '{}',      -- what was found and done, by name
    receipt bigint,                          -- position of person.erased.v1
    trouble text,                            -- why it does not go on
    finished_at timestamptz
);
CREATE INDEX requests_by_app ON erasure.requests (app_id, requested_at);

-- Ids that are refused. In the order of `ordinal`, which is the order of commits (advisory lock).
CREATE TABLE erasure.ids (
    ordinal bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    app_id uuid NOT NULL,
    digest bytea NOT NULL,
    erasure_id uuid NOT NULL,
    distinct_id text,                        -- until the erasure is finished
    UNIQUE (app_id, digest)
);
CREATE INDEX ids_by_erasure ON erasure.ids (erasure_id);

-- The events that were rewritten, until the erasure is finished.
CREATE TABLE erasure.positions (
    erasure_id uuid NOT NULL,
    position bigint NOT NULL,
    tracked bool NOT NULL,
    PRIMARY KEY (erasure_id, position)
);
