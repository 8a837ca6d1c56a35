"""Holds what `haggle tail` printed against the API description: each event is a `StreamEvent`, and in each room the
messages are numbered without a gap or a repeat.

    python events.py openapi.json <file of a stream>…
"""

import json
import sys
from collections import Counter

import jsonschema_rs

description = json.load(open(sys.argv[1]))
schema = {"$ref": "#/components/schemas/StreamEvent", "components": description["components"]}
event_schema = jsonschema_rs.validator_for(schema, validate_formats=True)

for name in sys.argv[2:]:
    kinds: Counter[str] = Counter()
    rooms: dict[str, int] = {}
    for line in open(name, newline="\n"):
        kind, data = line.split(maxsplit=1)
        event = json.loads(data)
        event_schema.validate(event)
        assert event["type"] == kind, line
        kinds[kind] += 1
        if "message" in event:
            number, before = event["message"]["id"], rooms.get(event["room_id"])
            assert before is None or number == before + 1, f"{number} after {before} in {event['room_id']}"
            rooms[event["room_id"]] = number
    seen = ", ".join(f"{count} {kind}" for kind, count in sorted(kinds.items()))
    assert kinds["new_message"] >= 10, f"{name} saw too little: {seen}"
    print(f"stream {name}: {seen}; all as described, none missing")
