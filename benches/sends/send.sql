-- One send, as tight as it gets with the lock taken first: three round trips, and one statement for all four rows.
\set seat random(1, :seats)
BEGIN;
SELECT pg_advisory_xact_lock(:lock);
WITH sent AS (
    UPDATE rooms
    SET last_number = last_number + 1, last_at = now(),
        last_position = (SELECT coalesce(max(position), 0) + 1 FROM log)
    FROM seats WHERE seats.n = :seat AND rooms.id = seats.room_id
    RETURNING rooms.*, seats.user_id, seats.side
), message AS (
    INSERT INTO messages
    SELECT id, last_number, gen_random_uuid(), user_id, side, repeat('.', 200), NULL, NULL, NULL, now(), NULL, 0,
           '\x000102030405060708090a0b0c0d0e0f000102030405060708090a0b0c0d0e0f'::bytea
    FROM sent
), participant AS (
    INSERT INTO participants SELECT id, user_id, last_number, last_number, 0 FROM sent
    ON CONFLICT (room_id, user_id)
    DO UPDATE SET seen_till = excluded.seen_till, last_wrote = excluded.last_wrote
)
INSERT INTO log SELECT last_position, 'message', id, creator_id, company_id, last_number, user_id, now() FROM sent;
COMMIT;
