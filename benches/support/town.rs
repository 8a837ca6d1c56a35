//! A database that has been in use for a while: companies, creators, rooms with contracts, messages.
//!
//! Written straight into the tables, in bulk, by the same statements on both databases. What stands in them is what
//! Haggle would have written: UUIDv7 ids in the order of time, dense positions, 200 bytes of text, every reader's
//! marks. In rooms that stand next to each other messages come in turns, as people write.

use std::collections::HashSet;
use std::ops::Range;
use std::path::Path;
use std::time::Duration;

use diesel::ExpressionMethods;
use diesel::upsert::excluded;
use diesel_async::RunQueryDsl;
use haggle::clock::Clock;
use haggle::config::{Config, Place, Settings};
use haggle::domain::{
    CampaignId, CompanyId, Content, ContractState, Draft, Fingerprint, MessageId, Number, Payout, RecordedStep, RoomId,
    SendMessage, Side, Timestamp, UserId, Version,
};
use haggle::on;
use haggle::store::bulk::{Bulk, Keep, pieces};
use haggle::store::rows::{
    CampaignRow, CompanyRow, ContractChangeRow, ContractRow, LogRow, MessageRow, ParticipantRow, RoomRow, UserRow,
};
use haggle::store::types::{Json, LogKind};
use haggle::store::{Conn, Store, schema};
use tokio_util::sync::CancellationToken;
use uuid::{Builder, Uuid};

use super::SECRET;

/// Bytes of text in a message.
pub const CONTENT_BYTES: usize = 200;
/// Rooms of the company with many (company 0), and of the creator with many (creator 0).
pub const CROWD: usize = 1_000;
/// Who works at each company.
pub const EMPLOYEES: usize = 3;
/// Between two messages of the town.
const PACE: Duration = Duration::from_millis(100);
/// How long ago the first message was written: less than the log is kept for.
const SINCE: Duration = Duration::from_hours(7 * 24);
/// How long filling may take.
const WITHIN: Duration = Duration::from_mins(10);
/// Rows in one statement, and messages in memory at once.
const AT_ONCE: usize = 1_000;

/// Settings for a database in this folder, or at this URL, with the defaults of `haggle serve` and no limit to anybody's
/// rate.
pub fn config(folder: &Path, database_url: Option<&str>) -> Config {
    let defaults = Settings::defaults();
    let settings = Settings {
        listen: ([127, 0, 0, 1], 0).into(),
        place: Place { data_dir: folder.to_owned(), database_url: database_url.map(str::to_owned), ..defaults.place },
        jwt_secret: Some(SECRET.to_owned()),
        max_connections_per_address: 100_000,
        rate_per_second: 1_000_000,
        rate_burst: 1_000_000,
        ..defaults
    };
    settings.resolve().expect("these settings hold")
}

/// A database of its own, with its tables.
pub async fn open(config: &Config) -> Store {
    let never = CancellationToken::new();
    Store::open(config, &never, &never).await.expect("the database opens")
}

/// The same in this folder, which does nothing by itself: checkpoints would be counted by chance.
pub async fn open_quiet(folder: &Path) -> Store {
    let (stop, fatal) = (CancellationToken::new(), CancellationToken::new());
    stop.cancel();
    Store::open(&config(folder, None), &stop, &fatal).await.expect("the database opens")
}

/// What was written so far.
pub struct Town {
    /// When its first message was written.
    pub began: Timestamp,
    /// The newest position of the log.
    pub head: i64,
    companies: HashSet<usize>,
    creators: HashSet<usize>,
}

/// A row of each room as it stands after writing.
struct Written {
    rooms: Vec<RoomRow>,
    participants: Vec<ParticipantRow>,
}

/// Inserts rows in bulk.
macro_rules! insert {
    ($conn:expr, $table:ident = $rows:expr) => {
        for rows in pieces(&$rows) {
            let insert = diesel::insert_into(schema::$table::table).values(Bulk(rows)).kept();
            on!($conn, |c| insert.execute(c)).expect("the rows fit the tables");
        }
    };
}

impl Town {
    /// Nobody yet.
    pub fn new() -> Self {
        Self::since(Clock::System.now().minus(SINCE))
    }

    /// Nobody yet, in a town whose first message is written at this moment; everybody's ids follow from it.
    pub fn since(began: Timestamp) -> Self {
        Self { began, head: 0, companies: HashSet::new(), creators: HashSet::new() }
    }

    /// An id of this kind, the same for the same `n`: UUIDv7, in order.
    fn id(&self, kind: u8, n: usize) -> Uuid {
        let mut random = [0; 10];
        fastrand::Rng::with_seed(u64::from(kind) << 56 | n as u64).fill(&mut random);
        let millis = u64::try_from(self.began.micros() / 1_000).expect("after 1970") - 10_000_000 + n as u64;
        Builder::from_unix_timestamp_millis(millis, &random).into_uuid()
    }

    /// A room.
    pub fn room(&self, n: usize) -> RoomId {
        RoomId(self.id(1, n))
    }

    /// A company.
    pub fn company(&self, n: usize) -> CompanyId {
        CompanyId(self.id(2, n))
    }

    /// The campaign of a company.
    pub fn campaign(&self, company: usize) -> CampaignId {
        CampaignId(self.id(3, company))
    }

    /// Who works for a company.
    pub fn employee(&self, company: usize, n: usize) -> UserId {
        UserId(self.id(4, company * EMPLOYEES + n))
    }

    /// A creator.
    pub fn creator(&self, n: usize) -> UserId {
        UserId(self.id(5, n))
    }

    /// Whose room it is, as a company and a creator: [`CROWD`] of company 0, [`CROWD`] of creator 0, then creators with
    /// one room each, spread over the companies.
    pub fn pair(room: usize) -> (usize, usize) {
        match room {
            _ if room < CROWD => (0, room + 1),
            _ if room < 2 * CROWD => (room - CROWD + 1, 0),
            _ => (1 + room % CROWD, CROWD + 1 + room),
        }
    }

    /// Who writes message `number` of a room: the creator and the employees in turn.
    pub fn author(&self, room: usize, number: i64) -> (UserId, Side) {
        let (company, creator) = Self::pair(room);
        if number % 2 == 1 {
            return (self.creator(creator), Side::Creator);
        }
        let n = usize::try_from(number / 2).expect("not negative") % EMPLOYEES;
        (self.employee(company, n), Side::Company)
    }

    /// When the message at a position was written.
    fn at(&self, position: i64) -> Timestamp {
        let pace = i64::try_from(PACE.as_micros()).expect("short");
        Timestamp::from_micros(self.began.micros() + position * pace).expect("a moment")
    }

    /// A command that sends a message to a room of the town, by the creator.
    pub fn send(&self, room: usize) -> SendMessage {
        let content = Content::try_from(text(&mut fastrand::Rng::new())).expect("a text");
        SendMessage {
            caller: self.creator(Self::pair(room).1),
            room_id: self.room(room),
            key: MessageId(Clock::System.new_id()),
            fingerprint: Fingerprint([7; 32]),
            from_user_id: None,
            draft: Draft { content, change: None, file: None, switch_to: None },
        }
    }

    /// Has `rooms`, which hold `had` messages each, hold `have` each. Rooms that hold none are new.
    pub async fn grow(&mut self, conn: &Conn, rooms: Range<usize>, had: usize, have: usize) {
        conn.limit(WITHIN);
        let written = conn.write(async |conn| {
            if had == 0 {
                self.settle(conn, rooms.clone()).await;
            }
            let first = self.head + 1;
            self.head += i64::try_from(rooms.len() * (have - had)).expect("few");
            let rows = self.standing(rooms.clone(), have);
            save(conn, rows, had == 0).await;
            let spoken = (had..have).flat_map(|n| rooms.clone().map(move |room| (room, n + 1)));
            let spoken: Vec<(usize, usize)> = spoken.collect();
            for (n, chunk) in spoken.chunks(AT_ONCE).enumerate() {
                self.say(conn, chunk, first + i64::try_from(n * AT_ONCE).expect("few")).await;
            }
            Ok(())
        });
        written.await.expect("the rows are written");
    }

    /// People, companies and campaigns of new rooms.
    async fn settle(&mut self, conn: &Conn, rooms: Range<usize>) {
        let (mut companies, mut users, mut campaigns) = (Vec::new(), Vec::new(), Vec::new());
        let user = |id, given_name: String, company_id| UserRow {
            id,
            given_name,
            family_name: "Lindqvist".to_owned(),
            logo_url: format!("https://pictures.example/{id}.png"),
            company_id,
            active: true,
            access_position: 0,
        };
        for (company, creator) in rooms.map(Self::pair) {
            let company_id = self.company(company);
            if self.companies.insert(company) {
                let logo_url = format!("https://pictures.example/{company_id}.png");
                companies.push(CompanyRow { id: company_id, name: format!("Northwind {company}"), logo_url });
                campaigns.push(CampaignRow {
                    id: self.campaign(company),
                    company_id,
                    name: "Spring launch".to_owned(),
                    open: true,
                });
                let staff = (0..EMPLOYEES).map(|n| self.employee(company, n));
                users.extend(staff.map(|id| user(id, "Nora".to_owned(), Some(company_id))));
            }
            if self.creators.insert(creator) {
                users.push(user(self.creator(creator), "Ada".to_owned(), None));
            }
        }
        insert!(conn, companies = companies);
        insert!(conn, users = users);
        insert!(conn, campaigns = campaigns);
    }

    /// The rows of rooms that hold `have` messages each, the last of which end at the head.
    fn standing(&self, rooms: Range<usize>, have: usize) -> Written {
        let mut written = Written { rooms: Vec::new(), participants: Vec::new() };
        let have = i64::try_from(have).expect("few");
        for (back, n) in rooms.rev().enumerate() {
            let (company, creator) = Self::pair(n);
            let last_position = self.head - i64::try_from(back).expect("few");
            let room_id = self.room(n);
            written.rooms.push(RoomRow {
                id: room_id,
                company_id: self.company(company),
                creator_id: self.creator(creator),
                selected_campaign_id: has_contract(n).then(|| self.campaign(company)),
                last_number: number(have),
                last_at: self.at(last_position),
                last_position,
            });
            // Whoever is in the room wrote one of its last messages.
            let wrote = (1..=have).rev().take(2 * EMPLOYEES).map(|number| (self.author(n, number).0, number));
            let mut seen = HashSet::new();
            for (user_id, last) in wrote.filter(|(user, _)| seen.insert(*user)) {
                written.participants.push(ParticipantRow {
                    room_id,
                    user_id,
                    seen_till: number(last),
                    last_wrote: number(last),
                    last_viewed: 0,
                });
            }
        }
        written
    }

    /// Messages, given as room and number, with what they did and where they stand in the log.
    async fn say(&self, conn: &Conn, spoken: &[(usize, usize)], first: i64) {
        let (mut messages, mut changes, mut contracts, mut log) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        let mut random = fastrand::Rng::with_seed(u64::try_from(first).expect("positive"));
        for ((room, n), position) in spoken.iter().zip(first..) {
            let ((company, creator), n) = (Self::pair(*room), i64::try_from(*n).expect("few"));
            let (room_id, campaign_id, at) = (self.room(*room), self.campaign(company), self.at(position));
            let (from_user, side) = self.author(*room, n);
            // Message 2 proposes a contract, and message 3 accepts it.
            let version = if has_contract(*room) { (n - 1).min(2) } else { 0 };
            let payout = Payout::try_from(100_000).expect("a payout");
            let step = (version == n - 1).then_some(version).and_then(|version| match version {
                1 => Some(RecordedStep::ProposedByCompany { campaign_id, payout }),
                2 => Some(RecordedStep::AcceptedByCreator {}),
                _ => None,
            });
            if step.is_some() {
                let change = ContractRow {
                    room_id,
                    campaign_id,
                    state: if version == 1 { ContractState::Proposed } else { ContractState::Accepted },
                    payout,
                    version: Version::try_from(version).expect("a version"),
                    changed_by: from_user,
                    changed_in: number(n),
                    declined: false,
                };
                changes.push(changed(&change));
                if version == 2 {
                    contracts.push(change);
                }
            }
            let millis = u64::try_from(at.micros() / 1_000).expect("after 1970");
            let mut noise = [0; 10];
            random.fill(&mut noise);
            messages.push(MessageRow {
                room_id,
                number: number(n),
                id: MessageId(Builder::from_unix_timestamp_millis(millis, &noise).into_uuid()),
                from_user,
                side,
                content: text(&mut random),
                step: step.map(Json),
                attachment_id: None,
                switched_to: None,
                at,
                selected_campaign_id: (version > 0).then_some(campaign_id),
                contract_version: Version::try_from(version).expect("a version"),
                fingerprint: Fingerprint([7; 32]),
            });
            log.push(LogRow {
                position,
                kind: if n == 1 { LogKind::RoomCreated } else { LogKind::Message },
                room_id: Some(room_id),
                creator_id: Some(self.creator(creator)),
                company_id: Some(self.company(company)),
                number: Some(number(n)),
                user_id: Some(from_user),
                at,
            });
        }
        insert!(conn, messages = messages);
        insert!(conn, contract_changes = changes);
        insert!(conn, contracts = contracts);
        insert!(conn, log = log);
    }
}

/// Every other room has a contract.
fn has_contract(room: usize) -> bool {
    room.is_multiple_of(2)
}

fn number(n: i64) -> Number {
    Number::try_from(n).expect("a number")
}

fn changed(row: &ContractRow) -> ContractChangeRow {
    let ContractRow { room_id, campaign_id, state, payout, version, changed_by, changed_in, declined } = row.clone();
    ContractChangeRow { room_id, campaign_id, state, payout, version, changed_by, changed_in, declined }
}

/// Words, [`CONTENT_BYTES`] bytes of them.
fn text(random: &mut fastrand::Rng) -> String {
    let mut text = String::with_capacity(CONTENT_BYTES);
    while text.len() < CONTENT_BYTES {
        let space = text.len() % 7 == 6;
        text.push(if space { ' ' } else { random.lowercase() });
    }
    text
}

async fn save(conn: &Conn, written: Written, new: bool) {
    use schema::{participants, rooms};
    if new {
        insert!(conn, rooms = written.rooms);
        insert!(conn, participants = written.participants);
        return;
    }
    for rows in written.rooms.chunks(AT_ONCE) {
        let upsert = diesel::insert_into(rooms::table).values(Bulk(rows)).on_conflict(rooms::id).do_update();
        let upsert = upsert.set((
            rooms::last_number.eq(excluded(rooms::last_number)),
            rooms::last_at.eq(excluded(rooms::last_at)),
            rooms::last_position.eq(excluded(rooms::last_position)),
        ));
        on!(conn, |c| upsert.execute(c)).expect("the rooms are updated");
    }
    for rows in written.participants.chunks(AT_ONCE) {
        let upsert = diesel::insert_into(participants::table)
            .values(Bulk(rows))
            .on_conflict((participants::room_id, participants::user_id))
            .do_update();
        let upsert = upsert.set((
            participants::seen_till.eq(excluded(participants::seen_till)),
            participants::last_wrote.eq(excluded(participants::last_wrote)),
        ));
        on!(conn, |c| upsert.execute(c)).expect("the marks are updated");
    }
}
