-- All seats of all rooms, numbered, for pgbench to draw from.
CREATE TABLE seats AS
SELECT row_number() OVER () AS n, rooms.id AS room_id, users.id AS user_id,
       CASE WHEN users.id = rooms.creator_id THEN 'creator' ELSE 'company' END AS side
FROM rooms JOIN users ON users.company_id = rooms.company_id OR users.id = rooms.creator_id;
ALTER TABLE seats ADD PRIMARY KEY (n);
ANALYZE seats;
