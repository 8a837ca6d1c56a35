//! The rules as tables, played on one small world.
//!
//! Northwind has two employees and two campaigns, Southwind one of each; Ada, Ben and Cai are creators. A [`Scene`]
//! decides commands and puts what happened into the world, as the writer does.

mod creating;
mod directory;
mod messages;
mod model;
mod negotiating;
mod properties;
mod seen;
mod uploads;

use uuid::Uuid;

use super::*;

const ADA: UserId = UserId(Uuid::from_u128(0xA1));
const BEN: UserId = UserId(Uuid::from_u128(0xA2));
const CAI: UserId = UserId(Uuid::from_u128(0xA3));
const NORA: UserId = UserId(Uuid::from_u128(0xE1));
const NILS: UserId = UserId(Uuid::from_u128(0xE2));
const SAM: UserId = UserId(Uuid::from_u128(0xE3));
const NOBODY: UserId = UserId(Uuid::from_u128(0xFF));

const NORTH: CompanyId = CompanyId(Uuid::from_u128(0xC1));
const SOUTH: CompanyId = CompanyId(Uuid::from_u128(0xC2));
const NO_COMPANY: CompanyId = CompanyId(Uuid::from_u128(0xCF));

const SPRING: CampaignId = CampaignId(Uuid::from_u128(0xD1));
const SUMMER: CampaignId = CampaignId(Uuid::from_u128(0xD2));
const SOUTHERN: CampaignId = CampaignId(Uuid::from_u128(0xD3));
const NO_CAMPAIGN: CampaignId = CampaignId(Uuid::from_u128(0xDF));

/// The room of Northwind and Ada in [`Scene::with_room`].
const ROOM: RoomId = RoomId(Uuid::from_u128(0xB1));

/// A world, its rules and its clock.
struct Scene {
    world: World,
    rules: Rules,
    /// Microseconds since 1970.
    clock: i64,
    made: u128,
}

impl Scene {
    /// The directory alone.
    fn new() -> Self {
        let mut world = World::default();
        for (id, company_id) in
            [(ADA, None), (BEN, None), (CAI, None), (NORA, Some(NORTH)), (NILS, Some(NORTH)), (SAM, Some(SOUTH))]
        {
            world.users.insert(id, user(id, company_id));
        }
        for id in [NORTH, SOUTH] {
            world.companies.insert(id, Company { id, name: "Wind".to_owned(), logo_url: String::new() });
        }
        for (id, company_id) in [(SPRING, NORTH), (SUMMER, NORTH), (SOUTHERN, SOUTH)] {
            world.campaigns.insert(id, Campaign { id, company_id, name: "Launch".to_owned(), open: true });
        }
        Self { world, rules: Rules::default(), clock: 1_000, made: 0 }
    }

    /// Northwind and Ada have a room with one message, Ada's.
    fn with_room() -> Self {
        let mut scene = Self::new();
        let create = CreateRoom { room_id: ROOM, ..scene.create(ADA, to_company(NORTH)) };
        scene.run(Command::CreateRoom(create)).unwrap();
        scene
    }

    /// As [`Scene::with_room`], with a proposal of 100 for the spring campaign: contract version 1, message 2.
    fn with_proposal() -> Self {
        let mut scene = Self::with_room();
        scene.say(NORA, step(propose(SPRING, 100))).unwrap();
        scene
    }

    fn now(&self) -> Timestamp {
        Timestamp::from_micros(self.clock).unwrap()
    }

    fn decide(&self, command: &Command) -> Result<Decision, Refusal> {
        decide(&self.world, self.rules, command, self.now())
    }

    /// Decides, and takes in what happened.
    #[expect(clippy::needless_pass_by_value, reason = "keeps the tests short")]
    fn run(&mut self, command: Command) -> Result<Decision, Refusal> {
        let decision = self.decide(&command)?;
        decision.1.iter().for_each(|event| self.world.apply(event));
        Ok(decision)
    }

    fn fresh(&mut self) -> Uuid {
        self.made += 1;
        Uuid::from_u128(0x1000 + self.made)
    }

    /// A message for [`ROOM`] with a key of its own.
    fn message(&mut self, caller: UserId, draft: Draft) -> SendMessage {
        let key = MessageId(self.fresh());
        SendMessage { caller, room_id: ROOM, key, fingerprint: fingerprint(1), from_user_id: None, draft }
    }

    /// A "hello" for the room of a pair, with a key and a room id of its own.
    fn create(&mut self, caller: UserId, direction: Direction) -> CreateRoom {
        let (room_id, key) = (RoomId(self.fresh()), MessageId(self.fresh()));
        CreateRoom {
            caller,
            direction,
            room_id,
            key,
            fingerprint: fingerprint(2),
            from_user_id: None,
            draft: text("hello"),
        }
    }

    /// Sends to [`ROOM`].
    fn say(&mut self, caller: UserId, draft: Draft) -> Result<Message, Refusal> {
        let send = self.message(caller, draft);
        self.run(Command::SendMessage(send)).map(|(_, events)| sent(&events))
    }

    fn open(&mut self, caller: UserId, direction: Direction) -> Result<Message, Refusal> {
        let create = self.create(caller, direction);
        self.run(Command::CreateRoom(create)).map(|(_, events)| sent(&events))
    }

    fn see(&mut self, caller: UserId, seen_till: i64) -> Result<Decision, Refusal> {
        let seen_till = number(seen_till);
        self.run(Command::UpdateLastSeen(UpdateLastSeen { caller, room_id: ROOM, seen_till }))
    }

    fn direct(&mut self, operation: DirectoryOperation) -> Result<Decision, Refusal> {
        self.run(Command::Directory(vec![operation]))
    }

    fn deactivate(&mut self, id: UserId) {
        self.direct(DirectoryOperation::DeleteUser { id, erase: false }).unwrap();
    }

    fn close(&mut self, id: CampaignId) {
        self.world.campaigns.get_mut(&id).unwrap().open = false;
    }

    fn room(&self) -> &Room {
        &self.world.rooms[&ROOM]
    }

    fn contract(&self, campaign: CampaignId) -> Option<Contract> {
        self.world.contracts.get(&(ROOM, campaign)).copied()
    }
}

fn user(id: UserId, company_id: Option<CompanyId>) -> User {
    let name = |text: &str| text.to_owned();
    User {
        id,
        given_name: name("Ada"),
        family_name: name("Okafor"),
        logo_url: name("https://example.com/ada.png"),
        company_id,
        active: true,
        access_position: 7,
    }
}

fn put_user(id: UserId, company_id: Option<CompanyId>) -> DirectoryOperation {
    let name = || Name::try_from("Ada".to_owned()).unwrap();
    let logo_url = LogoUrl::try_from(String::new()).unwrap();
    DirectoryOperation::PutUser { id, given_name: name(), family_name: name(), logo_url, company_id }
}

fn put_company(id: CompanyId) -> DirectoryOperation {
    let logo_url = LogoUrl::try_from(String::new()).unwrap();
    DirectoryOperation::PutCompany { id, name: Name::try_from("Wind".to_owned()).unwrap(), logo_url }
}

fn put_campaign(id: CampaignId, company_id: CompanyId, open: bool) -> DirectoryOperation {
    DirectoryOperation::PutCampaign { id, company_id, name: Name::try_from("Launch".to_owned()).unwrap(), open }
}

fn to_company(company_id: CompanyId) -> Direction {
    Direction::UserToCompany { company_id }
}

fn to_user(company_id: CompanyId, to_user_id: UserId) -> Direction {
    Direction::CompanyToUser { company_id, to_user_id }
}

fn fingerprint(of: u8) -> Fingerprint {
    Fingerprint([of; 32])
}

fn number(number: i64) -> Number {
    Number::try_from(number).unwrap()
}

fn payout(cents: i64) -> Payout {
    Payout::try_from(cents).unwrap()
}

fn version(version: i64) -> Version {
    Version::try_from(version).unwrap()
}

fn text(content: &str) -> Draft {
    let content = Content::try_from(content.to_owned()).unwrap();
    Draft { content, change: None, file: None, switch_to: None }
}

fn step(step: Step) -> Draft {
    Draft { change: Some(Change { step, guards: Guards::default() }), ..text("") }
}

fn propose(campaign_id: CampaignId, cents: i64) -> Step {
    Step::Propose { campaign_id, payout: payout(cents) }
}

impl Draft {
    fn switching_to(self, campaign: CampaignId) -> Self {
        Self { switch_to: Some(campaign), ..self }
    }

    fn holding(self, file: AttachmentId) -> Self {
        Self { file: Some(DraftFile::Uploaded(file)), ..self }
    }

    fn guarded(self, version: Option<i64>, cents: Option<i64>) -> Self {
        let guards = Guards { version: version.map(self::version), payout: cents.map(payout) };
        Self { change: self.change.map(|change| Change { guards, ..change }), ..self }
    }
}

/// The message among the events.
fn sent(events: &[Event]) -> Message {
    let sent = events.iter().find_map(|event| match event {
        Event::MessageSent { message, .. } => Some(*message.clone()),
        _ => None,
    });
    sent.expect("a message was sent")
}

/// What a program would switch on.
fn code<T>(result: Result<T, Refusal>) -> &'static str {
    result.map_or_else(|refusal| refusal.code(), |_| "ok")
}

impl Event {
    /// Whether this fact takes a position in the log.
    fn is_logged(&self) -> bool {
        match self {
            Self::MessageSent { .. }
            | Self::Viewed { .. }
            | Self::UserPut { .. }
            | Self::CompanyPut(_)
            | Self::CampaignPut(_) => true,
            Self::RoomCreated { .. }
            | Self::ContractChanged(_)
            | Self::Seen { .. }
            | Self::UploadBegun { .. }
            | Self::FileStored(_)
            | Self::FileAttached { .. } => false,
        }
    }
}
