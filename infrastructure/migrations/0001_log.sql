-- The log: the `eventsourcing` library's table shape, plus what the envelope needs.
-- One advisory lock orders every append, so position order is commit order; numbers are taken
-- from the head under that lock, never from a sequence, so a roll-back leaves no gap.
CREATE SCHEMA log;

CREATE TABLE log.events (
    originator_id uuid NOT NULL,
    originator_version bigint NOT NULL,
    notification_id bigint NOT NULL,
    recorded_at timestamptz NOT NULL,
    app_id uuid,                      -- null: an organisation's own
    topic text NOT NULL,
    state bytea NOT NULL,             -- first byte: payload codec (infrastructure/codec.py)
    PRIMARY KEY (originator_id, originator_version)
) WITH (
    autovacuum_vacuum_threshold = 100000000, autovacuum_vacuum_scale_factor = 0.5,
    autovacuum_analyze_threshold = 1000, autovacuum_analyze_scale_factor = 0.01
);
CREATE UNIQUE INDEX events_notification_id_idx ON log.events (notification_id);

-- Which log this is. A restored or fresh log gets another id, and consumers start again.
CREATE TABLE log.identity (log_id uuid NOT NULL DEFAULT gen_random_uuid());
INSERT INTO log.identity DEFAULT VALUES;

-- Takes the writers' lock; returns the head and a time that never runs backwards along the log.
CREATE FUNCTION log.lock_head(OUT head bigint, OUT now timestamptz) LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_advisory_xact_lock(4711);
    SELECT notification_id, recorded_at INTO head, now
        FROM log.events ORDER BY notification_id DESC LIMIT 1;
    head := coalesce(head, 0);
    now := greatest(clock_timestamp(), now);
END $$;

-- Appends first versions in bulk. What is stored already is left alone and named in
-- known_ordinals (1-based) with the positions it has. The new ones follow head without gaps.
-- The ids of one call must differ.
CREATE FUNCTION log.append_events(
    ids uuid[], app_ids uuid[], topics text[], states bytea[],
    OUT head bigint, OUT known_ordinals int[], OUT known_positions bigint[]
) LANGUAGE plpgsql
-- The log only grows: a plan made while it was small must not survive as a scan of all of it.
SET enable_hashjoin = off SET enable_mergejoin = off SET enable_seqscan = off AS $$
DECLARE at timestamptz;
BEGIN
    SELECT l.head, l.now INTO head, at FROM log.lock_head() l;
    SELECT array_agg(n.ordinal::int), array_agg(e.notification_id)
        INTO known_ordinals, known_positions
        FROM unnest(ids) WITH ORDINALITY n(id, ordinal)
        JOIN log.events e ON e.originator_id = n.id AND e.originator_version = 1;
    IF known_ordinals IS NULL THEN
        INSERT INTO log.events
            SELECT n.id, 1, append_events.head + n.ordinal, at, n.app_id, n.topic, n.state
            FROM unnest(ids, app_ids, topics, states)
                WITH ORDINALITY n(id, app_id, topic, state, ordinal);
    ELSE
        INSERT INTO log.events
            SELECT n.id, 1, append_events.head + row_number() OVER (ORDER BY n.ordinal), at,
                   n.app_id, n.topic, n.state
            FROM unnest(ids, app_ids, topics, states)
                WITH ORDINALITY n(id, app_id, topic, state, ordinal)
            WHERE n.ordinal <> ALL (known_ordinals);
    END IF;
    NOTIFY log;
END $$;

-- Appends an aggregate's new events. A version that exists is a unique violation.
CREATE FUNCTION log.save_events(
    ids uuid[], versions bigint[], app_ids uuid[], topics text[], states bytea[]
) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE head bigint; at timestamptz;
BEGIN
    SELECT l.head, l.now INTO head, at FROM log.lock_head() l;
    INSERT INTO log.events
        SELECT n.id, n.version, head + n.ordinal, at, n.app_id, n.topic, n.state
        FROM unnest(ids, versions, app_ids, topics, states)
            WITH ORDINALITY n(id, version, app_id, topic, state, ordinal);
    NOTIFY log;
    RETURN head;
END $$;

-- How far each projection has come. The row moves in the transaction of the state it describes;
-- for a read model outside this database it is a lower bound.
CREATE SCHEMA projections;
CREATE TABLE projections.checkpoints (
    name text PRIMARY KEY,
    version int NOT NULL,
    position bigint NOT NULL,
    recorded_at timestamptz,           -- of the event at `position`
    filling text NOT NULL DEFAULT '',  -- which tables these are; a swap changes it
    rules text NOT NULL DEFAULT '',    -- enrichment rules in force when they were begun
    updated_at timestamptz NOT NULL DEFAULT clock_timestamp()
);

-- Events that a projection could not take: kept with the reason, the rest goes on.
CREATE TABLE projections.parked (
    projection text NOT NULL,
    position bigint NOT NULL,
    app_id uuid,
    reason text NOT NULL,
    parked_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (projection, position)
);

-- A real, durable write that leaves no event behind: what readiness asks the store for.
CREATE TABLE log.probe (only_row bool PRIMARY KEY DEFAULT true CHECK (only_row), at timestamptz);
