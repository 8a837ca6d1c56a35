//! The rules: `(world, command) -> events or refusal`, synchronous and pure.
//!
//! The order of the checks is the wire contract's: who is calling, membership (404), idempotency key, field values,
//! side (403), campaign, guards (`terms_changed`), state.

use super::{
    Answered, CampaignId, Change, Command, Contract, CreateRoom, Direction, Draft, DraftFile, Event, Fingerprint,
    Message, MessageId, Number, Receipt, RecordedStep, Refusal, Room, RoomContract, RoomId, SendMessage, Side, Step,
    StoredFile, Timestamp, UpdateLastSeen, Upload, User, UserId, Version, World, directory,
};

/// Unattached bytes one person may hold, in files and in uploads under way: 100 MiB, four uploads of the largest size.
pub const UNATTACHED_BYTES: i64 = 100 * 1024 * 1024;

/// What a deployment decides for itself.
#[derive(Debug, Clone, Copy, Default)]
pub struct Rules {
    /// Refuse contract changes without guards (`HAGGLE_REQUIRE_GUARDS`).
    pub require_guards: bool,
}

/// An accepted command: what it answers and what happened.
pub type Decision = (Receipt, Vec<Event>);

/// Decides one command at one moment.
///
/// # Errors
/// The first rule that refuses it; then nothing has happened.
pub fn decide(world: &World, rules: Rules, command: &Command, now: Timestamp) -> Result<Decision, Refusal> {
    match command {
        Command::SendMessage(send) => send_message(world, rules, send, now),
        Command::CreateRoom(create) => create_room(world, rules, create, now),
        Command::UpdateLastSeen(update) => update_last_seen(world, *update),
        Command::Upload(upload) => decide_upload(world, upload),
        Command::Directory(operations) => directory::decide_all(world, operations),
    }
}

/// The caller, if the directory lets them act.
fn active(world: &World, id: UserId) -> Result<&User, Refusal> {
    let user = world.users.get(&id).ok_or(Refusal::UnknownUser)?;
    if user.active { Ok(user) } else { Err(Refusal::Deactivated) }
}

/// The caller's room and side; to strangers the room does not exist.
fn membership<'a>(world: &'a World, caller: &User, room_id: RoomId) -> Result<(&'a Room, Side), Refusal> {
    let room = world.rooms.get(&room_id).ok_or(Refusal::NotFound)?;
    let side = room.side_of(caller).ok_or(Refusal::NotFound)?;
    Ok((room, side))
}

/// The earlier answer to the same request, if there is one.
fn earlier(
    world: &World,
    caller: UserId,
    key: MessageId,
    fingerprint: Fingerprint,
) -> Result<Option<Answered>, Refusal> {
    match world.answered.get(&key) {
        None => Ok(None),
        Some(answered) if answered.caller == caller && answered.fingerprint == fingerprint => Ok(Some(*answered)),
        Some(_) => Err(Refusal::KeyReused),
    }
}

fn repeat(key: MessageId, answered: Answered) -> Decision {
    let Answered { room_id, number, .. } = answered;
    (Receipt::Sent { room_id, message_id: key, number, repeated: true }, Vec::new())
}

fn send_message(world: &World, rules: Rules, send: &SendMessage, now: Timestamp) -> Result<Decision, Refusal> {
    let caller = active(world, send.caller)?;
    let (room, side) = membership(world, caller, send.room_id)?;
    if let Some(answered) = earlier(world, send.caller, send.key, send.fingerprint)? {
        return Ok(repeat(send.key, answered));
    }
    if send.from_user_id.is_some_and(|id| id != send.caller) {
        return Err(Refusal::FromUserMismatch);
    }
    let post = Post {
        caller: send.caller,
        side,
        key: send.key,
        fingerprint: send.fingerprint,
        draft: &send.draft,
        pointers: &IN_MESSAGE,
        now,
    };
    append(world, rules, room, &post)
}

fn create_room(world: &World, rules: Rules, create: &CreateRoom, now: Timestamp) -> Result<Decision, Refusal> {
    let caller = active(world, create.caller)?;
    if let Some(answered) = earlier(world, create.caller, create.key, create.fingerprint)? {
        return Ok(repeat(create.key, answered));
    }
    if create.from_user_id.is_some_and(|id| id != create.caller) {
        return Err(Refusal::FromUserMismatch);
    }
    let (company_id, creator_id, side) = match create.direction {
        Direction::UserToCompany { company_id } => {
            if !world.companies.contains_key(&company_id) {
                return Err(Refusal::Unknown { what: "unknown_company", pointer: "/direction/company_id" });
            }
            // A creator who has since joined a company keeps the rooms they opened as a creator.
            let keeps = world.pairs.contains_key(&(company_id, caller.id));
            if caller.company_id.is_some() && !keeps {
                return Err(Refusal::SameSide);
            }
            (company_id, caller.id, Side::Creator)
        }
        Direction::CompanyToUser { company_id, to_user_id } => {
            if caller.company_id != Some(company_id) {
                return Err(Refusal::NotYourCompany);
            }
            // To somebody who was deactivated no new room is opened; the one there is stays open to the company.
            let keeps = world.pairs.contains_key(&(company_id, to_user_id));
            let to = world.users.get(&to_user_id).filter(|user| user.active || keeps);
            let unknown = Refusal::Unknown { what: "unknown_user", pointer: "/direction/to_user_id" };
            let to = to.ok_or(unknown)?;
            if to.company_id.is_some() && !keeps {
                return Err(Refusal::SameSide);
            }
            (company_id, to.id, Side::Company)
        }
    };
    let post = Post {
        caller: caller.id,
        side,
        key: create.key,
        fingerprint: create.fingerprint,
        draft: &create.draft,
        pointers: &IN_ROOM,
        now,
    };
    if let Some(room) = world.pairs.get(&(company_id, creator_id)).and_then(|id| world.rooms.get(id)) {
        return append(world, rules, room, &post);
    }
    let room = Room {
        id: create.room_id,
        company_id,
        creator_id,
        selected_campaign_id: None,
        last_number: Number::ZERO,
        last_at: now,
        last_position: 0,
    };
    let (receipt, mut events) = append(world, rules, &room, &post)?;
    events.insert(0, Event::RoomCreated { room });
    Ok((receipt, events))
}

/// A message with everything known about its sender.
struct Post<'a> {
    caller: UserId,
    side: Side,
    key: MessageId,
    fingerprint: Fingerprint,
    draft: &'a Draft,
    pointers: &'static Pointers,
    now: Timestamp,
}

/// Where a request names what may be unknown, as JSON Pointers into its body.
struct Pointers {
    attachment: &'static str,
    switch_to: &'static str,
    proposal: &'static str,
}

/// The body is the message.
const IN_MESSAGE: Pointers = Pointers {
    attachment: "/attachment_id",
    switch_to: "/change_selected_campaign_to",
    proposal: "/contract_change/campaign_id",
};

/// The message stands beside the direction.
const IN_ROOM: Pointers = Pointers {
    attachment: "/message/attachment_id",
    switch_to: "/message/change_selected_campaign_to",
    proposal: "/message/contract_change/campaign_id",
};

/// Appends a message to a room: text, file, campaign switch and contract change together or not at all.
fn append(world: &World, rules: Rules, room: &Room, post: &Post<'_>) -> Result<Decision, Refusal> {
    let number = room.last_number.next();
    let file = draft_file(world, post)?;
    let selected = select_campaign(world, room, post)?;
    let current = selected.and_then(|campaign| world.contracts.get(&(room.id, campaign)).copied());
    let changed = change_contract(rules, post, selected, current, number)?;
    let message = Message {
        room_id: room.id,
        number,
        id: post.key,
        from_user: post.caller,
        side: post.side,
        content: post.draft.content.as_str().to_owned(),
        step: post.draft.change.map(|change| RecordedStep::from(change.step)),
        attachment: file.clone().map(|file| StoredFile { room_id: Some(room.id), ..file }),
        switched_to: post.draft.switch_to,
        at: post.now.max(room.last_at),
        selected_campaign_id: selected,
        contract_version: changed.or(current).map_or(Version::ZERO, |contract| contract.version),
        fingerprint: post.fingerprint,
    };
    let mut events = Vec::with_capacity(4);
    match (&post.draft.file, file) {
        (Some(DraftFile::Fresh(_)), Some(file)) => {
            events.push(Event::FileStored(StoredFile { room_id: Some(room.id), ..file }));
        }
        (Some(DraftFile::Uploaded(id)), _) => events.push(Event::FileAttached { id: *id, room_id: room.id }),
        _ => {}
    }
    let first = number == Number::ZERO.next();
    events.push(Event::MessageSent { message: Box::new(message), first });
    if let Some(contract) = changed {
        events.push(Event::ContractChanged(RoomContract { room_id: room.id, contract }));
    }
    events.push(Event::Seen { room_id: room.id, user_id: post.caller, seen_till: number });
    Ok((Receipt::Sent { room_id: room.id, message_id: post.key, number, repeated: false }, events))
}

fn draft_file(world: &World, post: &Post<'_>) -> Result<Option<StoredFile>, Refusal> {
    match &post.draft.file {
        None => Ok(None),
        Some(DraftFile::Fresh(file)) => Ok(Some(file.clone())),
        Some(DraftFile::Uploaded(id)) => {
            let unknown = Refusal::Unknown { what: "unknown_attachment", pointer: post.pointers.attachment };
            let file = world.files.get(id).filter(|file| file.owner == post.caller).ok_or(unknown)?;
            if file.room_id.is_some() { Err(Refusal::AttachmentUsed) } else { Ok(Some(file.clone())) }
        }
    }
}

/// The campaign that is selected once this message is applied.
///
/// The order of the wire contract puts the side before the campaign, so the side is asked here.
fn select_campaign(world: &World, room: &Room, post: &Post<'_>) -> Result<Option<CampaignId>, Refusal> {
    let step = post.draft.change.map(|change| change.step);
    if step.is_some_and(|step| step.side() != post.side) {
        return Err(Refusal::WrongSide);
    }
    let of_company = |id: CampaignId, pointer| {
        let unknown = Refusal::Unknown { what: "unknown_campaign", pointer };
        world.campaigns.get(&id).filter(|campaign| campaign.company_id == room.company_id).ok_or(unknown)
    };
    if let Some(id) = post.draft.switch_to {
        of_company(id, post.pointers.switch_to)?;
    }
    if let Some(Step::Propose { campaign_id, .. }) = step {
        let campaign = of_company(campaign_id, post.pointers.proposal)?;
        if post.draft.switch_to.is_some_and(|id| id != campaign_id) {
            return Err(Refusal::CampaignMismatch);
        }
        return if campaign.open { Ok(Some(campaign_id)) } else { Err(Refusal::CampaignClosed) };
    }
    let selected = post.draft.switch_to.or(room.selected_campaign_id);
    if step.is_some() && selected.is_none() { Err(Refusal::NoSelectedCampaign) } else { Ok(selected) }
}

fn change_contract(
    rules: Rules,
    post: &Post<'_>,
    selected: Option<CampaignId>,
    current: Option<Contract>,
    number: Number,
) -> Result<Option<Contract>, Refusal> {
    let (Some(change), Some(campaign)) = (post.draft.change, selected) else { return Ok(None) };
    if rules.require_guards && current.is_some() && !is_guarded(change) {
        return Err(Refusal::GuardRequired);
    }
    Contract::after(current, campaign, change, post.caller, number).map(Some)
}

/// A version says everything about the terms; accepting may also rest on the payout alone.
fn is_guarded(change: Change) -> bool {
    change.guards.version.is_some() || (change.step == Step::Accept && change.guards.payout.is_some())
}

fn update_last_seen(world: &World, update: UpdateLastSeen) -> Result<Decision, Refusal> {
    let caller = active(world, update.caller)?;
    let (room, _) = membership(world, caller, update.room_id)?;
    let before = world.seen.get(&(room.id, caller.id)).copied().unwrap_or(Number::ZERO);
    let asked = update.seen_till.min(room.last_number);
    let seen_till = before.max(asked);
    let new_messages = room.last_number.get() - seen_till.get();
    let moved = seen_till > before;
    let event = moved.then(|| Event::Viewed { room: room.clone(), user_id: caller.id, seen_till });
    Ok((Receipt::Seen { seen_till, new_messages }, event.into_iter().collect()))
}

fn decide_upload(world: &World, upload: &Upload) -> Result<Decision, Refusal> {
    match upload {
        Upload::Begin { owner, object, reserved } => {
            active(world, *owner)?;
            let held = world.unattached.get(owner).copied().unwrap_or(0);
            if held.saturating_add(*reserved) > UNATTACHED_BYTES {
                return Err(Refusal::UnattachedQuota);
            }
            let begun = Event::UploadBegun { owner: *owner, object: *object, reserved: *reserved };
            Ok((Receipt::Uploaded { created: true }, vec![begun]))
        }
        Upload::Finish { file } => {
            active(world, file.owner)?;
            match world.files.get(&file.id) {
                None => Ok((Receipt::Uploaded { created: true }, vec![Event::FileStored(file.clone())])),
                Some(there) if there.owner != file.owner => Err(Refusal::AttachmentConflict),
                Some(there) if there.sha256 == file.sha256 && there.name == file.name => {
                    Ok((Receipt::Uploaded { created: false }, Vec::new()))
                }
                Some(_) => Err(Refusal::AttachmentConflict),
            }
        }
    }
}
