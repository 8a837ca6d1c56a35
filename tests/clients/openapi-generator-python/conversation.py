"""A negotiation between two clients of openapi-generator's (python) and a running server."""

import os
from collections.abc import Iterator
from datetime import datetime
from urllib.request import urlopen
from uuid import UUID, uuid4

from sseclient import SSEClient

import haggle_api as m

url = os.environ["HAGGLE_URL"]
company_id = UUID(os.environ["COMPANY"])
campaign_id = UUID(os.environ["CAMPAIGN"])


def client(token: str) -> m.ApiClient:
    return m.ApiClient(m.Configuration(host=url, access_token=token))


company = client(os.environ["COMPANY_TOKEN"])
creator = client(os.environ["CREATOR_TOKEN"])
PASSING = ("presence", "activity_change", "typing_change", "heartbeat", "new_last_view")


def events() -> Iterator[object]:
    """The variants of `StreamEvent`, without those that come and go by themselves."""
    # The operation itself would wait for the stream's end; its sibling hands out the connection.
    response = m.EventsApi(creator).stream_events_without_preload_content(_request_timeout=30)
    assert response.status == 200
    for event in SSEClient(response.stream(amt=None)).events():
        parsed = m.StreamEvent.from_json(event.data)
        assert parsed.actual_instance is not None and parsed.actual_instance.type == event.event
        if event.event not in PASSING:
            yield parsed.actual_instance


stream = events()


def said() -> m.StreamEventNewMessage:
    event = next(stream)
    assert isinstance(event, m.StreamEventNewMessage), event
    return event


def say(who: m.ApiClient, room_id: UUID, body: m.MessageInput, key: UUID | None = None) -> m.SendMessageResp:
    return m.CommandsApi(who).send_message(room_id, body, idempotency_key=None if key is None else str(key))


hello = next(stream)
assert isinstance(hello, m.StreamEventHello)
assert not hello.resumed

direction = m.CreateChatRoomDirectionUserToCompany(type="user_to_company", company_id=company_id)
opened = m.CommandsApi(creator).create_chat_room_with_http_info(
    m.CreateChatRoom(message=m.MessageInput(content="Hi!"), direction=m.CreateChatRoomDirection(direction))
)
assert opened.status_code == 201
room_id = opened.data.room_id
created = next(stream)
assert isinstance(created, m.StreamEventRoomCreatedWithYou)
assert created.room_id == room_id
assert created.message.from_user.id == hello.user_id
assert isinstance(created.message.timestamp, datetime)
assert sorted(user.given_name for user in created.users) == ["Ada", "Nora"]

terms = m.ContractChangeInputProposedByCompany(type="proposed_by_company", campaign_id=campaign_id, payout=125_000)
say(company, room_id, m.MessageInput(content="Terms.", contract_change=m.ContractChangeInput(terms)))
proposed = said()
assert proposed.contract and proposed.contract.state is m.ContractState.PROPOSED
assert proposed.message.contract_change
change = proposed.message.contract_change.actual_instance
assert isinstance(change, m.ContractChangeProposedByCompany)
assert change.payout == 125_000


def accept(payout: int, key: UUID) -> m.SendMessageResp:
    change = m.ContractChangeInputAcceptedByCreator(
        type="accepted_by_creator", expected_version=1, expected_payout=payout
    )
    body = m.MessageInput(content="Deal!", contract_change=m.ContractChangeInput(change))
    return say(creator, room_id, body, key)


problem = None
try:
    accept(90_000, uuid4())
except m.ApiException as error:
    assert error.status == 409
    problem = error.data
assert isinstance(problem, m.Problem)
assert problem.code == "terms_changed"
assert problem.contract and problem.contract.payout == 125_000

key = uuid4()
assert accept(125_000, key).message_id == key
accepted = said()
assert accepted.message.message_id == key
assert accepted.contract and accepted.contract.state is m.ContractState.ACCEPTED

# Of a body's media types the generator takes the first, JSON; the client underneath sends the form.
brief = b"Two videos, live by 1 March.\n"
form = company.param_serialize(
    method="POST",
    resource_path="/v1/rooms/{room_id}/messages",
    path_params={"room_id": room_id},
    header_params={"Content-Type": "multipart/form-data", "Accept": "application/json"},
    post_params=[("message", m.MessageInput(content="The brief").to_json())],
    files={"attachment": ("brief.txt", brief)},
    auth_settings=["bearer"],
)
answer = company.call_api(*form)
assert answer.status == 201
file = said().message.attachment
assert file and (file.name, file.size, file.content_type) == ("brief.txt", len(brief), "text/plain")
with urlopen(url + file.link) as answered:
    assert answered.read() == brief

# A file's raw bytes are an operation like others.
m.CommandsApi(company).upload_attachment(upload := uuid4(), "notes.txt", b"Notes")
say(company, room_id, m.MessageInput(content="", attachment_id=upload))
notes = said().message.attachment
assert notes and notes.name == "notes.txt"

room = m.QueriesApi(creator).query_room(room_id)
assert [message.content for message in room.messages] == ["Hi!", "Terms.", "Deal!", "The brief", ""]
assert room.contracts[0].state is m.ContractState.ACCEPTED
print(
    f"openapi-generator-python: {len(room.messages)} messages, accepted at {accepted.contract.payout}, "
    f"uploaded {file.name} and {notes.name}, 5 events, refused with {problem.code}"
)
