//! Turns decided events into rows and log entries, and writes them in bulk.

use std::collections::{HashMap, HashSet};

use diesel::upsert::excluded;
use diesel::{ExpressionMethods, QueryDsl, QueryResult, sql_query};
use diesel_async::RunQueryDsl;
use futures_util::join;

use crate::domain::{
    AttachmentId, CompanyId, Contract, Entry, EntryKind, Event, Message, News, Number, ObjectId, Profile, Room, RoomId,
    Side, Timestamp, User, UserId, World,
};
use crate::on;
use crate::store::Conn;
use crate::store::bulk::{Bulk, Keep, pieces};
use crate::store::rows::{
    AttachmentRow, CampaignRow, CompanyRow, ContractChangeRow, ContractRow, LogRow, MessageRow, ParticipantRow,
    RoomRow, UploadRow, UserRow,
};
use crate::store::schema::{
    attachments, campaigns, companies, contract_changes, contracts, log, messages, participants, rooms, uploads, users,
};
use crate::store::types::{LogKind, sql};

/// Inserts rows, or replaces the named columns of those whose key is there.
macro_rules! upsert {
    ($conn:expr, $table:ident ($($key:ident),+) = $rows:expr; $($column:ident),+) => {{
        for rows in pieces(&$rows) {
            on!($conn, |c| diesel::insert_into($table::table)
                .values(Bulk(rows))
                .on_conflict(($($table::$key),+))
                .do_update()
                .set(($($table::$column.eq(excluded($table::$column))),+,))
                .kept()
                .execute(c))?;
        }
    }};
}

/// Inserts rows whose keys are new.
macro_rules! insert {
    ($conn:expr, $table:ident = $rows:expr) => {{
        for rows in pieces($rows) {
            on!($conn, |c| diesel::insert_into($table::table).values(Bulk(rows)).kept().execute(c))?;
        }
    }};
}

/// The rows of one batch, collected in order.
pub struct Ledger {
    head: i64,
    now: Timestamp,
    log: Vec<LogRow>,
    entries: Vec<Entry>,
    messages: Vec<MessageRow>,
    contract_changes: Vec<ContractChangeRow>,
    files: Vec<AttachmentRow>,
    attached: Vec<(AttachmentId, RoomId)>,
    uploads: Vec<UploadRow>,
    companies: HashSet<CompanyId>,
    users: HashSet<UserId>,
    campaigns: HashMap<crate::domain::CampaignId, CampaignRow>,
    joined: Vec<(UserId, CompanyId)>,
    opened: HashSet<RoomId>,
    rooms: HashSet<RoomId>,
    wrote: HashMap<(RoomId, UserId), Number>,
    viewed: HashMap<(RoomId, UserId), i64>,
}

impl Ledger {
    /// An empty ledger; the next log position is `head + 1`.
    pub fn new(head: i64, now: Timestamp) -> Self {
        Self {
            head,
            now,
            log: Vec::new(),
            entries: Vec::new(),
            messages: Vec::new(),
            contract_changes: Vec::new(),
            files: Vec::new(),
            attached: Vec::new(),
            uploads: Vec::new(),
            companies: HashSet::new(),
            users: HashSet::new(),
            campaigns: HashMap::new(),
            joined: Vec::new(),
            opened: HashSet::new(),
            rooms: HashSet::new(),
            wrote: HashMap::new(),
            viewed: HashMap::new(),
        }
    }

    /// Records the events of one decision, which `world` has applied: gives those that are logged their positions.
    pub fn record(&mut self, world: &mut World, events: Vec<Event>) {
        let changed = events.iter().find_map(|event| match event {
            Event::ContractChanged(changed) => Some(changed.contract),
            _ => None,
        });
        for event in events {
            self.record_one(world, event, changed);
        }
    }

    fn record_one(&mut self, world: &mut World, event: Event, changed: Option<Contract>) {
        match event {
            Event::RoomCreated { room } => {
                self.opened.insert(room.id);
            }
            Event::MessageSent { message, first } => self.record_message(world, *message, first, changed),
            Event::ContractChanged(changed) => self.contract_changes.push(changed.into()),
            Event::Seen { room_id, user_id, seen_till } => {
                self.wrote.insert((room_id, user_id), seen_till);
            }
            Event::Viewed { room, user_id, seen_till } => self.record_view(&room, user_id, seen_till),
            Event::UserPut { user, joined, moved } => self.record_user(world, &user, joined, moved),
            Event::CompanyPut(company) => {
                self.companies.insert(company.id);
                self.directory();
            }
            Event::CampaignPut(campaign) => {
                self.campaigns.insert(campaign.id, campaign.into());
                self.directory();
            }
            Event::UploadBegun { owner, object, reserved } => {
                self.uploads.push(UploadRow { object, owner, reserved, at: self.now });
            }
            Event::FileStored(file) => self.files.push(AttachmentRow::new(file, self.now)),
            Event::FileAttached { id, room_id } => self.attached.push((id, room_id)),
        }
    }

    fn record_message(&mut self, world: &mut World, message: Message, first: bool, changed: Option<Contract>) {
        let position = self.head + 1;
        let Some(room) = world.rooms.get_mut(&message.room_id) else { return };
        room.last_position = position;
        let room = room.clone();
        self.rooms.insert(room.id);
        let selected = message.selected_campaign_id;
        let contract = changed.or_else(|| selected.and_then(|id| world.contracts.get(&(room.id, id)).copied()));
        let kind = if first { LogKind::RoomCreated } else { LogKind::Message };
        let row = self.room_row(kind, &room, message.number, message.from_user);
        let news = tell(world, &room, &message, first, contract);
        self.messages.push(message.into());
        let kind = news.map(|news| EntryKind::Told {
            room_id: room.id,
            creator_id: room.creator_id,
            company_id: room.company_id,
            news: Box::new(news),
        });
        self.append(row, kind.unwrap_or(EntryKind::Directory));
    }

    fn record_view(&mut self, room: &Room, user_id: UserId, seen_till: Number) {
        let row = self.room_row(LogKind::LastView, room, seen_till, user_id);
        self.viewed.insert((room.id, user_id), row.position);
        let kind = EntryKind::Told {
            room_id: room.id,
            creator_id: room.creator_id,
            company_id: room.company_id,
            news: Box::new(News::NewLastView { user_id, seen_till }),
        };
        self.append(row, kind);
    }

    fn record_user(&mut self, world: &mut World, user: &User, joined: Option<CompanyId>, moved: bool) {
        self.users.insert(user.id);
        self.joined.extend(joined.map(|company| (user.id, company)));
        if !moved {
            self.directory();
            return;
        }
        let kind = if user.active { LogKind::Granted } else { LogKind::Revoked };
        let company_id = user.company_id.filter(|_| user.active);
        let row = LogRow { company_id, user_id: Some(user.id), ..self.row(kind) };
        if let Some(user) = world.users.get_mut(&user.id) {
            user.access_position = row.position;
        }
        self.append(row, EntryKind::Access { user_id: user.id, company_id: user.company_id, active: user.active });
    }

    fn directory(&mut self) {
        let row = self.row(LogKind::Directory);
        self.append(row, EntryKind::Directory);
    }

    fn row(&self, kind: LogKind) -> LogRow {
        LogRow {
            position: self.head + 1,
            kind,
            room_id: None,
            creator_id: None,
            company_id: None,
            number: None,
            user_id: None,
            at: self.now,
        }
    }

    fn room_row(&self, kind: LogKind, room: &Room, number: Number, user_id: UserId) -> LogRow {
        LogRow {
            room_id: Some(room.id),
            creator_id: Some(room.creator_id),
            company_id: Some(room.company_id),
            number: Some(number),
            user_id: Some(user_id),
            ..self.row(kind)
        }
    }

    fn append(&mut self, row: LogRow, kind: EntryKind) {
        self.head = row.position;
        self.entries.push(Entry { position: row.position, at: row.at, kind });
        self.log.push(row);
    }

    /// Writes everything, what others refer to first, and hands out the entries to tell.
    ///
    /// # Errors
    /// What the database said; the transaction is then rolled back.
    pub async fn save(self, conn: &Conn, world: &World) -> QueryResult<Vec<Entry>> {
        save_directory(conn, &self, world).await?;
        save_rooms(conn, &self.opened, world).await?;
        let known: HashSet<RoomId> = self.rooms.difference(&self.opened).copied().collect();
        let (rooms, files, messages, contracts, participants, log) = join!(
            save_rooms(conn, &known, world),
            save_files(conn, &self),
            save_messages(conn, &self),
            save_contracts(conn, &self, world),
            save_participants(conn, &self, world),
            save_log(conn, &self),
        );
        rooms.and(files).and(messages).and(contracts).and(participants).and(log)?;
        Ok(self.entries)
    }
}

/// What readers are told of a message: everything about it as of now.
fn tell(world: &World, room: &Room, message: &Message, first: bool, contract: Option<Contract>) -> Option<News> {
    if first {
        let company = world.companies.get(&room.company_id)?.clone();
        let employees = world.employees.get(&room.company_id).into_iter().flatten();
        let employees = employees.map(|user| user.profile(Some(company.clone())));
        let creator = profile(world, room, room.creator_id, Side::Creator)?;
        let users = std::iter::once(creator).chain(employees).collect();
        return Some(News::RoomCreated { message: Box::new(message.clone()), contract, company, users });
    }
    let author = profile(world, room, message.from_user, message.side)?;
    Some(News::NewMessage { message: Box::new(message.clone()), author, contract })
}

fn profile(world: &World, room: &Room, id: UserId, side: Side) -> Option<Profile> {
    Some(world.users.get(&id)?.profile_on(side, room.company_id, &world.companies))
}

async fn save_directory(conn: &Conn, ledger: &Ledger, world: &World) -> QueryResult<()> {
    let of = ledger.companies.iter().filter_map(|id| world.companies.get(id));
    let rows: Vec<CompanyRow> = of.cloned().map(CompanyRow::from).collect();
    upsert!(conn, companies (id) = rows; name, logo_url);
    let of = ledger.users.iter().filter_map(|id| world.users.get(id));
    let rows: Vec<UserRow> = of.cloned().map(UserRow::from).collect();
    upsert!(conn, users (id) = rows; given_name, family_name, logo_url, company_id, active, access_position);
    let rows: Vec<CampaignRow> = ledger.campaigns.values().cloned().collect();
    upsert!(conn, campaigns (id) = rows; name, open);
    for (user, company) in &ledger.joined {
        join(conn, *user, *company).await?;
    }
    Ok(())
}

/// Someone who joins a company starts with everything seen. (Both databases read `$1` and `$2`.)
async fn join(conn: &Conn, user: UserId, company: CompanyId) -> QueryResult<()> {
    const JOIN: &str = "INSERT INTO participants (room_id, user_id, seen_till, last_wrote, last_viewed) \
                        SELECT id, $1, last_number, 0, 0 FROM rooms WHERE company_id = $2 \
                        ON CONFLICT (room_id, user_id) DO UPDATE SET seen_till = excluded.seen_till";
    on!(conn, |c| sql_query(JOIN).bind::<sql::Uuid, _>(user).bind::<sql::Uuid, _>(company).execute(c))?;
    Ok(())
}

async fn save_rooms(conn: &Conn, ids: &HashSet<RoomId>, world: &World) -> QueryResult<()> {
    let of = ids.iter().filter_map(|id| world.rooms.get(id));
    let rows: Vec<RoomRow> = of.cloned().map(RoomRow::from).collect();
    upsert!(conn, rooms (id) = rows; selected_campaign_id, last_number, last_at, last_position);
    Ok(())
}

async fn save_files(conn: &Conn, ledger: &Ledger) -> QueryResult<()> {
    insert!(conn, uploads = &ledger.uploads);
    insert!(conn, attachments = &ledger.files);
    if !ledger.files.is_empty() {
        // From now on an attachment names these bytes.
        let objects: Vec<ObjectId> = ledger.files.iter().map(|file| file.object).collect();
        on!(conn, |c| diesel::delete(uploads::table.filter(uploads::object.eq_any(&objects))).execute(c))?;
    }
    for (id, room_id) in &ledger.attached {
        on!(conn, |c| diesel::update(attachments::table.find(*id))
            .set(attachments::room_id.eq(Some(*room_id)))
            .execute(c))?;
    }
    Ok(())
}

async fn save_messages(conn: &Conn, ledger: &Ledger) -> QueryResult<()> {
    insert!(conn, messages = &ledger.messages);
    Ok(())
}

async fn save_log(conn: &Conn, ledger: &Ledger) -> QueryResult<()> {
    insert!(conn, log = &ledger.log);
    Ok(())
}

async fn save_contracts(conn: &Conn, ledger: &Ledger, world: &World) -> QueryResult<()> {
    insert!(conn, contract_changes = &ledger.contract_changes);
    let changed: HashSet<_> = ledger.contract_changes.iter().map(|row| (row.room_id, row.campaign_id)).collect();
    let of = changed.iter().filter_map(|(room_id, campaign)| {
        let contract = *world.contracts.get(&(*room_id, *campaign))?;
        Some(crate::domain::RoomContract { room_id: *room_id, contract })
    });
    let rows: Vec<ContractRow> = of.map(ContractRow::from).collect();
    upsert!(conn, contracts (room_id, campaign_id) = rows; state, payout, version, changed_by, changed_in, declined);
    Ok(())
}

async fn save_participants(conn: &Conn, ledger: &Ledger, world: &World) -> QueryResult<()> {
    let seen = |key: &(RoomId, UserId)| world.seen.get(key).copied().unwrap_or(Number::ZERO);
    let row = |key: &(RoomId, UserId), last_wrote, last_viewed| ParticipantRow {
        room_id: key.0,
        user_id: key.1,
        seen_till: seen(key),
        last_wrote,
        last_viewed,
    };
    let rows: Vec<ParticipantRow> = ledger.wrote.iter().map(|(key, number)| row(key, *number, 0)).collect();
    upsert!(conn, participants (room_id, user_id) = rows; seen_till, last_wrote);
    let rows: Vec<ParticipantRow> =
        ledger.viewed.iter().map(|(key, position)| row(key, Number::ZERO, *position)).collect();
    upsert!(conn, participants (room_id, user_id) = rows; seen_till, last_viewed);
    Ok(())
}
