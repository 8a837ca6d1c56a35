//! A negotiation between two generated clients (progenitor) and a running server.

use std::error::Error as StdError;

use api::types::{self, ContractChange, ContractChangeInput, ContractState, MessageInput, Problem, StreamEvent};
use api::{ByteStream, Client, ClientInfo, Error, ResponseValue};
use eventsource_stream::Eventsource;
use futures_util::{Stream, StreamExt, TryStreamExt};
use reqwest::header::{AUTHORIZATION, HeaderMap};
use reqwest::multipart::{Form, Part};
use uuid::Uuid;

mod api {
    progenitor::generate_api!(spec = "openapi-3.0.json");
}

type Result<T> = std::result::Result<T, Box<dyn StdError>>;

fn setting(name: &str) -> Result<String> {
    std::env::var(name).map_err(|error| format!("{name}: {error}").into())
}

/// A client with a token. `Client::new` would end a stream after 15 seconds.
fn client(token: &str) -> Result<Client> {
    let headers = HeaderMap::from_iter([(AUTHORIZATION, format!("Bearer {}", setting(token)?).parse()?)]);
    let http = reqwest::Client::builder().default_headers(headers).build()?;
    Ok(Client::new_with_client(&setting("HAGGLE_URL")?, http))
}

fn message(content: &str, contract_change: Option<ContractChangeInput>) -> Result<MessageInput> {
    Ok(MessageInput {
        content: content.try_into()?,
        contract_change,
        attachment: None,
        attachment_id: None,
        change_selected_campaign_to: None,
        from_user_id: None,
    })
}

/// The problem of a refusal. Its media type is not `application/json`, so progenitor hands out its bytes.
async fn problem<T>(answer: std::result::Result<ResponseValue<T>, Error<ByteStream>>) -> Result<Problem> {
    let Err(Error::ErrorResponse(refused)) = answer else {
        return Err("not refused".into());
    };
    let status = refused.status();
    let bytes = refused.into_inner_stream().map_ok(|piece| piece.to_vec()).try_concat().await?;
    let problem: Problem = serde_json::from_slice(&bytes)?;
    assert_eq!(i32::from(status.as_u16()), problem.status);
    Ok(problem)
}

/// The next event that does not come and go by itself.
async fn next(stream: &mut (impl Stream<Item = Result<StreamEvent>> + Unpin)) -> Result<StreamEvent> {
    loop {
        match stream.next().await.ok_or("the stream ended")?? {
            StreamEvent::Presence(_)
            | StreamEvent::ActivityChange(_)
            | StreamEvent::TypingChange(_)
            | StreamEvent::Heartbeat(_)
            | StreamEvent::NewLastView(_) => {}
            event => return Ok(event),
        }
    }
}

/// The message that the next event tells of.
async fn said(stream: &mut (impl Stream<Item = Result<StreamEvent>> + Unpin)) -> Result<types::StreamEventNewMessage> {
    match next(stream).await? {
        StreamEvent::NewMessage(event) => Ok(event),
        event => Err(format!("a message was due: {event:?}").into()),
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let (company, creator) = (client("COMPANY_TOKEN")?, client("CREATOR_TOKEN")?);
    let (company_id, campaign_id): (Uuid, Uuid) = (setting("COMPANY")?.parse()?, setting("CAMPAIGN")?.parse()?);

    let bytes = creator.stream_events(None, None, None, None, None).await?.into_inner_stream();
    let mut stream = bytes.eventsource().map(|event| -> Result<StreamEvent> {
        let event = event?;
        let parsed: StreamEvent = serde_json::from_str(&event.data)?;
        let again = serde_json::to_value(&parsed)?;
        assert_eq!(again["type"], event.event.as_str(), "the SSE name is the type");
        Ok(parsed)
    });
    let StreamEvent::Hello(hello) = next(&mut stream).await? else { panic!("hello comes first") };
    assert!(!hello.resumed);

    let direction = types::CreateChatRoomDirectionUserToCompany {
        company_id,
        type_: types::CreateChatRoomDirectionUserToCompanyType::UserToCompany,
    };
    let opening = types::CreateChatRoom { direction: direction.into(), message: message("Hi!", None)? };
    let opened = creator.create_chat_room(None, &opening).await?;
    assert_eq!(opened.status(), 201);
    let room_id = opened.room_id;
    let StreamEvent::RoomCreatedWithYou(created) = next(&mut stream).await? else { panic!("a room was created") };
    assert_eq!((created.room_id, created.message.from_user.id), (room_id, hello.user_id.ok_or("no user")?));
    let mut names: Vec<_> = created.users.iter().map(|user| user.given_name.as_str()).collect();
    names.sort_unstable();
    assert_eq!(names, ["Ada", "Nora"]);

    let terms = types::ContractChangeInputProposedByCompany {
        campaign_id,
        payout: 125_000,
        expected_version: None,
        type_: types::ContractChangeInputProposedByCompanyType::ProposedByCompany,
    };
    company.send_message(&room_id, None, &message("Terms.", Some(terms.into()))?).await?;
    let proposed = said(&mut stream).await?;
    assert_eq!(proposed.contract.map(|contract| contract.state), Some(ContractState::Proposed));
    let Some(ContractChange::ProposedByCompany(change)) = proposed.message.contract_change else { panic!("no terms") };
    assert_eq!(change.payout, 125_000);

    let accept = |payout| {
        let change = types::ContractChangeInputAcceptedByCreator {
            expected_payout: Some(payout),
            expected_version: Some(1),
            type_: types::ContractChangeInputAcceptedByCreatorType::AcceptedByCreator,
        };
        message("Deal!", Some(change.into()))
    };
    let refused = problem(creator.send_message(&room_id, None, &accept(90_000)?).await).await?;
    assert_eq!((refused.status, refused.code.as_str()), (409, "terms_changed"));
    assert_eq!(refused.contract.map(|contract| contract.payout), Some(125_000));

    let key = Uuid::new_v4();
    let receipt = creator.send_message(&room_id, Some(&key.to_string()), &accept(125_000)?).await?;
    assert_eq!(receipt.message_id, key);
    let accepted = said(&mut stream).await?;
    assert_eq!(accepted.message.message_id, key);
    let contract = accepted.contract.ok_or("no contract")?;
    assert_eq!((contract.state, contract.payout), (ContractState::Accepted, 125_000));

    // progenitor refuses a description with a form in it, so the twin in 3.0.3 has none: the form is sent by hand.
    let brief = "Two videos, live by 1 March.\n";
    let form = Form::new()
        .text("message", serde_json::to_string(&message("The brief", None)?)?)
        .part("attachment", Part::text(brief).file_name("brief.txt").mime_str("text/plain")?);
    let path = format!("{}/v1/rooms/{room_id}/messages", company.baseurl());
    let answer = company.client().post(path).multipart(form).send().await?;
    assert_eq!(answer.status(), 201);
    answer.json::<types::SendMessageResp>().await?;
    let file = said(&mut stream).await?.message.attachment.ok_or("no file")?;
    assert_eq!((file.name.as_str(), file.size), ("brief.txt", i64::try_from(brief.len())?));
    let link = format!("{}{}", company.baseurl(), file.link);
    assert_eq!(company.client().get(link).send().await?.text().await?, brief);

    // A file's raw bytes are an operation like others.
    let upload = Uuid::new_v4();
    company.upload_attachment(&upload, &"notes.txt".parse()?, "Notes").await?;
    let notes = MessageInput { attachment_id: Some(upload), ..message("", None)? };
    company.send_message(&room_id, None, &notes).await?;
    let notes = said(&mut stream).await?.message.attachment.ok_or("no file")?;
    assert_eq!(notes.name, "notes.txt");

    let room = creator.query_room(&room_id, None, None).await?.into_inner();
    let texts: Vec<_> = room.messages.iter().map(|message| message.content.as_str()).collect();
    assert_eq!(texts, ["Hi!", "Terms.", "Deal!", "The brief", ""]);
    assert_eq!(room.contracts[0].state, ContractState::Accepted);
    println!(
        "rust: {} messages, accepted at {}, uploaded {} and {}, 5 events, refused with {}",
        texts.len(),
        contract.payout,
        file.name,
        notes.name,
        refused.code
    );
    Ok(())
}
