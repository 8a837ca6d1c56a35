"""A negotiation between two generated clients (openapi-python-client) and a running server."""

import json
import os
from collections.abc import Callable, Iterator
from io import BytesIO
from typing import TypeVar
from uuid import UUID, uuid4

from httpx_sse import EventSource

from haggle_client import AuthenticatedClient
from haggle_client import models as m
from haggle_client.api.commands import create_chat_room, send_message
from haggle_client.api.queries import query_room
from haggle_client.types import File, Response

T = TypeVar("T")

url = os.environ["HAGGLE_URL"]
company_id = UUID(os.environ["COMPANY"])
campaign_id = UUID(os.environ["CAMPAIGN"])
company = AuthenticatedClient(url, os.environ["COMPANY_TOKEN"])
creator = AuthenticatedClient(url, os.environ["CREATOR_TOKEN"])

# The union has no class of its own; its variants have, by the event's name.
EVENTS: dict[str, Callable[[dict[str, object]], object]] = {
    "hello": m.StreamEventHello.from_dict,
    "room_created_with_you": m.StreamEventRoomCreatedWithYou.from_dict,
    "new_message": m.StreamEventNewMessage.from_dict,
    "new_last_view": m.StreamEventNewLastView.from_dict,
    "presence": m.StreamEventPresence.from_dict,
    "activity_change": m.StreamEventActivityChange.from_dict,
    "typing_change": m.StreamEventTypingChange.from_dict,
    "heartbeat": m.StreamEventHeartbeat.from_dict,
    "resync": m.StreamEventResync.from_dict,
    "goodbye": m.StreamEventGoodbye.from_dict,
}
PASSING = (
    m.StreamEventPresence,
    m.StreamEventActivityChange,
    m.StreamEventTypingChange,
    m.StreamEventHeartbeat,
    m.StreamEventNewLastView,
)


def ok(kind: type[T], answer: Response[T | m.Problem], status: int = 201) -> T:
    """The parsed body of a success."""
    assert answer.status_code == status, answer.content
    assert isinstance(answer.parsed, kind), answer.parsed
    return answer.parsed


def refused(answer: Response[T | m.Problem], status: int) -> m.Problem:
    """The parsed problem of a refusal."""
    assert answer.status_code == status, answer.content
    assert isinstance(answer.parsed, m.Problem)
    return answer.parsed


def expect(kind: type[T], stream: Iterator[object]) -> T:
    """The next event that does not come and go by itself, which must be of this kind."""
    event = next(event for event in stream if not isinstance(event, PASSING))
    assert isinstance(event, kind), event
    return event


def say(who: AuthenticatedClient, room_id: UUID, body: m.MessageInput | m.MessageForm) -> m.SendMessageResp:
    return ok(m.SendMessageResp, send_message.sync_detailed(room_id, client=who, body=body))


def converse(stream: Iterator[object]) -> str:
    hello = expect(m.StreamEventHello, stream)
    assert not hello.resumed

    opening = m.CreateChatRoom(
        message=m.MessageInput(content="Hi!"),
        direction=m.CreateChatRoomDirectionUserToCompany(
            type_=m.CreateChatRoomDirectionUserToCompanyType.USER_TO_COMPANY, company_id=company_id
        ),
    )
    room_id = ok(m.CreateChatRoomResp, create_chat_room.sync_detailed(client=creator, body=opening)).room_id
    created = expect(m.StreamEventRoomCreatedWithYou, stream)
    assert created.room_id == room_id
    assert created.message.from_user.id == hello.user_id
    assert sorted(user.given_name for user in created.users) == ["Ada", "Nora"]

    terms = m.ContractChangeInputProposedByCompany(
        type_=m.ContractChangeInputProposedByCompanyType.PROPOSED_BY_COMPANY,
        campaign_id=campaign_id,
        payout=125_000,
    )
    say(company, room_id, m.MessageInput(content="Terms.", contract_change=terms))
    proposed = expect(m.StreamEventNewMessage, stream)
    assert proposed.contract and proposed.contract.state is m.ContractState.PROPOSED
    change = proposed.message.contract_change
    assert isinstance(change, m.ContractChangeProposedByCompany)
    assert change.payout == 125_000

    def accept(payout: int, key: UUID) -> Response[m.SendMessageResp | m.Problem]:
        change = m.ContractChangeInputAcceptedByCreator(
            type_=m.ContractChangeInputAcceptedByCreatorType.ACCEPTED_BY_CREATOR,
            expected_version=1,
            expected_payout=payout,
        )
        body = m.MessageInput(content="Deal!", contract_change=change)
        return send_message.sync_detailed(room_id, client=creator, body=body, idempotency_key=str(key))

    problem = refused(accept(90_000, uuid4()), 409)
    assert problem.code == "terms_changed"
    assert problem.contract and problem.contract.payout == 125_000

    key = uuid4()
    assert ok(m.SendMessageResp, accept(125_000, key)).message_id == key
    accepted = expect(m.StreamEventNewMessage, stream)
    assert accepted.message.message_id == key
    assert accepted.contract and accepted.contract.state is m.ContractState.ACCEPTED

    brief = b"Two videos, live by 1 March.\n"
    form = m.MessageForm(
        message=json.dumps(m.MessageInput(content="The brief").to_dict()),
        attachment=File(BytesIO(brief), "brief.txt", "text/plain"),
    )
    say(company, room_id, form)
    file = expect(m.StreamEventNewMessage, stream).message.attachment
    assert file and (file.name, file.size) == ("brief.txt", len(brief))
    assert company.get_httpx_client().get(file.link).content == brief

    room = ok(m.DetailedRoom, query_room.sync_detailed(room_id, client=creator), 200)
    assert [message.content for message in room.messages] == ["Hi!", "Terms.", "Deal!", "The brief"]
    assert room.contracts[0].state is m.ContractState.ACCEPTED
    return (
        f"python: {len(room.messages)} messages, accepted at {accepted.contract.payout}, "
        f"uploaded {file.name}, 4 events, refused with {problem.code}"
    )


# The generated operation would wait for the end of the stream; its client opens it just as well.
with creator.get_httpx_client().stream("GET", "/v1/events", timeout=30) as response:
    parsed = (EVENTS[event.event](event.json()) for event in EventSource(response).iter_sse())
    print(converse(parsed))
