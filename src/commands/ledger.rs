//! Turns decided events into rows and log entries.

use std::collections::{HashMap, HashSet};

use crate::domain::{
    AttachmentId, CompanyId, Contract, Entry, EntryKind, Event, Message, News, Number, Profile, Room, RoomId, Side,
    Timestamp, User, UserId, World,
};
use crate::store::rows::{AttachmentRow, CampaignRow, ContractChangeRow, LogRow, MessageRow, UploadRow};
use crate::store::types::LogKind;

/// The rows of one batch, collected in order.
pub struct Ledger {
    head: i64,
    now: Timestamp,
    pub log: Vec<LogRow>,
    /// What is to be told once everything is written.
    pub entries: Vec<Entry>,
    pub messages: Vec<MessageRow>,
    pub contract_changes: Vec<ContractChangeRow>,
    pub files: Vec<AttachmentRow>,
    pub attached: Vec<(AttachmentId, RoomId)>,
    pub uploads: Vec<UploadRow>,
    pub companies: HashSet<CompanyId>,
    pub users: HashSet<UserId>,
    pub campaigns: HashMap<crate::domain::CampaignId, CampaignRow>,
    pub joined: Vec<(UserId, CompanyId)>,
    pub opened: HashSet<RoomId>,
    pub rooms: HashSet<RoomId>,
    pub wrote: HashMap<(RoomId, UserId), Number>,
    pub viewed: HashMap<(RoomId, UserId), i64>,
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
