-- The last position recorded at or before an instant, 0 for none: times never run backwards along
-- the log, so it is halved until one is left.
CREATE FUNCTION log.position_at(at timestamptz) RETURNS bigint LANGUAGE plpgsql STABLE AS $$
DECLARE low bigint := 0; high bigint; middle bigint; found timestamptz;
BEGIN
    SELECT coalesce(max(notification_id), 0) INTO high FROM log.events;
    WHILE low < high LOOP
        middle := (low + high + 1) / 2;
        SELECT recorded_at INTO found FROM log.events
            WHERE notification_id >= middle ORDER BY notification_id LIMIT 1;
        IF found <= at THEN low := middle; ELSE high := middle - 1; END IF;
    END LOOP;
    RETURN low;
END $$;
