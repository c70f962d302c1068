-- Most appends hold nothing that the log has already: without `probe` they are inserted at once,
-- and only when that fails are the known ones looked up. A quarter less of Postgres' time for
-- 1,000 events (docs/benchmarks.md). Callers that have just seen duplicates ask for the look first,
-- since a failed insert leaves dead rows.
DROP FUNCTION log.append_events(uuid[], uuid[], text[], bytea[]);
CREATE FUNCTION log.append_events(
    ids uuid[], app_ids uuid[], topics text[], states bytea[], probe boolean DEFAULT true,
    OUT head bigint, OUT known_ordinals int[], OUT known_positions bigint[]
) LANGUAGE plpgsql
-- The log only grows: a plan made while it was small must not survive as a scan of all of it.
SET enable_hashjoin = off SET enable_mergejoin = off SET enable_seqscan = off AS $$
DECLARE at timestamptz;
BEGIN
    SELECT l.head, l.now INTO head, at FROM log.lock_head() l;
    NOTIFY log;
    IF NOT probe THEN
        BEGIN
            INSERT INTO log.events
                SELECT n.id, 1, append_events.head + n.ordinal, at, n.app_id, n.topic, n.state
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
        SELECT n.id, 1, append_events.head + row_number() OVER (ORDER BY n.ordinal), at,
               n.app_id, n.topic, n.state
        FROM unnest(ids, app_ids, topics, states)
            WITH ORDINALITY n(id, app_id, topic, state, ordinal)
        WHERE known_ordinals IS NULL OR n.ordinal <> ALL (known_ordinals);
END $$;
