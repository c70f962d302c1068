-- Live segments: how far each app's are evaluated, and of what definition each is.
CREATE SCHEMA reactor;

CREATE TABLE reactor.evaluated (
    app_number int PRIMARY KEY,
    position bigint NOT NULL,                -- as of this position of the log
    at timestamptz NOT NULL,                 -- and at this instant
    recorded_at timestamptz,                 -- when the event at `position` was recorded
    everybody_at timestamptz NOT NULL,       -- when all persons were evaluated for dates that move
    appended_position bigint NOT NULL        -- of the last entered or left
);

CREATE TABLE reactor.definitions (
    app_number int NOT NULL,
    segment_id uuid NOT NULL,
    fingerprint text NOT NULL,               -- of the criteria with all that they name
    PRIMARY KEY (app_number, segment_id)
);
