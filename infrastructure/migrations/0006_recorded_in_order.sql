-- Each event has a later time of recording than the one before it, also within one append: so what
-- is ordered by the time of recording is ordered as the log is.
CREATE OR REPLACE FUNCTION log.lock_head(OUT head bigint, OUT now timestamptz)
LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_advisory_xact_lock(4711);
    SELECT notification_id, recorded_at INTO head, now
        FROM log.events ORDER BY notification_id DESC LIMIT 1;
    head := coalesce(head, 0);
    now := greatest(clock_timestamp(), now + interval '1 microsecond');
END $$;

CREATE OR REPLACE FUNCTION log.append_events(
    ids uuid[], app_ids uuid[], topics text[], states bytea[], probe boolean DEFAULT true,
    OUT head bigint, OUT known_ordinals int[], OUT known_positions bigint[]
) LANGUAGE plpgsql
SET enable_hashjoin = off SET enable_mergejoin = off SET enable_seqscan = off AS $$
DECLARE at timestamptz;
BEGIN
    SELECT l.head, l.now INTO head, at FROM log.lock_head() l;
    NOTIFY log;
    IF NOT probe THEN
        BEGIN
            INSERT INTO log.events
                SELECT n.id, 1, append_events.head + n.ordinal,
                       at + (n.ordinal - 1) * interval '1 microsecond',
                       n.app_id, n.topic, n.state
                FROM unnest(ids, app_ids, topics, states)
                    WITH ORDINALITY n(id, app_id, topic, state, ordinal);
            RETURN;
        EXCEPTION WHEN unique_violation THEN
            NULL;  -- some are known: which?
        END;
    END IF;
    -- LATERAL and LIMIT: one look into the index for each id, whatever the planner believes.
    SELECT array_agg(n.ordinal::int), array_agg(e.notification_id)
        INTO known_ordinals, known_positions
        FROM unnest(ids) WITH ORDINALITY n(id, ordinal)
        CROSS JOIN LATERAL (
            SELECT notification_id FROM log.events
            WHERE originator_id = n.id AND originator_version = 1 LIMIT 1
        ) e;
    INSERT INTO log.events
        SELECT n.id, 1, append_events.head + n.place,
               at + (n.place - 1) * interval '1 microsecond', n.app_id, n.topic, n.state
        FROM (
            SELECT g.*, row_number() OVER (ORDER BY g.ordinal) AS place
            FROM unnest(ids, app_ids, topics, states)
                WITH ORDINALITY g(id, app_id, topic, state, ordinal)
            WHERE known_ordinals IS NULL OR g.ordinal <> ALL (known_ordinals)
        ) n;
END $$;

CREATE OR REPLACE FUNCTION log.save_events(
    ids uuid[], versions bigint[], app_ids uuid[], topics text[], states bytea[]
) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE head bigint; at timestamptz;
BEGIN
    SELECT l.head, l.now INTO head, at FROM log.lock_head() l;
    INSERT INTO log.events
        SELECT n.id, n.version, head + n.ordinal, at + (n.ordinal - 1) * interval '1 microsecond',
               n.app_id, n.topic, n.state
        FROM unnest(ids, versions, app_ids, topics, states)
            WITH ORDINALITY n(id, version, app_id, topic, state, ordinal);
    NOTIFY log;
    RETURN head;
END $$;
