//! The part of the truth that a batch of commands may look at, in memory.
//!
//! The writer loads it in a few set-based queries, [`decide`](super::decide) reads it, and every event is put into it
//! at once, so that the next command of the batch sees what the one before it did.

use std::collections::{HashMap, HashSet};

use super::{
    AttachmentId, Campaign, CampaignId, Company, CompanyId, Contract, Event, Message, MessageId, Number, Room, RoomId,
    StoredFile, User, UserId,
};

/// What the commands of one batch may look at: their users, rooms, campaigns, contracts, earlier answers.
#[derive(Debug, Clone, Default)]
pub struct World {
    /// Callers and those they write to.
    pub users: HashMap<UserId, User>,
    /// The companies that are named, and those of the rooms.
    pub companies: HashMap<CompanyId, Company>,
    /// The campaigns that are named.
    pub campaigns: HashMap<CampaignId, Campaign>,
    /// The rooms that are named, by id or by pair.
    pub rooms: HashMap<RoomId, Room>,
    /// The room of each named pair.
    pub pairs: HashMap<(CompanyId, UserId), RoomId>,
    /// The contracts of those rooms about the selected and the named campaigns.
    pub contracts: HashMap<(RoomId, CampaignId), Contract>,
    /// How far the callers have seen.
    pub seen: HashMap<(RoomId, UserId), Number>,
    /// The messages that already carry one of the commands' keys.
    pub answered: HashMap<MessageId, Answered>,
    /// The named files.
    pub files: HashMap<AttachmentId, StoredFile>,
    /// Bytes that uploaders hold in files no message holds.
    pub unattached: HashMap<UserId, i64>,
    /// The active employees of companies for which a room may be opened, by id.
    pub employees: HashMap<CompanyId, Vec<User>>,
    /// Pairs of a creator and a company whose rooms exist, for people who may change company.
    pub counterparties: HashSet<(UserId, CompanyId)>,
}

/// What an earlier request with the same key did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Answered {
    /// Who sent it.
    pub caller: UserId,
    /// Where its message stands.
    pub room_id: RoomId,
    /// The message's number.
    pub number: Number,
    /// What makes another request the same.
    pub fingerprint: super::Fingerprint,
}

impl World {
    /// Takes an event in, as the database will.
    pub fn apply(&mut self, event: &Event) {
        match event {
            Event::RoomCreated { room } => {
                self.pairs.insert((room.company_id, room.creator_id), room.id);
                self.counterparties.insert((room.creator_id, room.company_id));
                self.rooms.insert(room.id, room.clone());
            }
            Event::MessageSent { message, .. } => self.apply_message(message),
            Event::ContractChanged(changed) => {
                self.contracts.insert((changed.room_id, changed.contract.campaign_id), changed.contract);
            }
            Event::Seen { room_id, user_id, seen_till } => {
                self.seen.insert((*room_id, *user_id), *seen_till);
            }
            Event::Viewed { room, user_id, seen_till } => {
                self.seen.insert((room.id, *user_id), *seen_till);
            }
            Event::UserPut { user, joined, .. } => self.apply_user(user, *joined),
            Event::CompanyPut(company) => {
                self.companies.insert(company.id, company.clone());
            }
            Event::CampaignPut(campaign) => {
                self.campaigns.insert(campaign.id, campaign.clone());
            }
            Event::UploadBegun { owner, reserved, .. } => {
                *self.unattached.entry(*owner).or_default() += reserved;
            }
            Event::FileStored(file) => {
                self.files.insert(file.id, file.clone());
            }
            Event::FileAttached { id, room_id } => {
                if let Some(file) = self.files.get_mut(id) {
                    file.room_id = Some(*room_id);
                }
            }
        }
    }

    fn apply_user(&mut self, user: &User, joined: Option<CompanyId>) {
        self.users.insert(user.id, user.clone());
        for (company_id, employees) in &mut self.employees {
            employees.retain(|employee| employee.id != user.id);
            if user.active && user.company_id == Some(*company_id) {
                let place = employees.partition_point(|employee| employee.id < user.id);
                employees.insert(place, user.clone());
            }
        }
        // Who joins a company starts with everything seen.
        for room in self.rooms.values().filter(|room| Some(room.company_id) == joined) {
            self.seen.insert((room.id, user.id), room.last_number);
        }
    }

    fn apply_message(&mut self, message: &Message) {
        if let Some(room) = self.rooms.get_mut(&message.room_id) {
            room.last_number = message.number;
            room.last_at = message.at;
            room.selected_campaign_id = message.selected_campaign_id;
        }
        self.answered.insert(
            message.id,
            Answered {
                caller: message.from_user,
                room_id: message.room_id,
                number: message.number,
                fingerprint: message.fingerprint,
            },
        );
    }
}
