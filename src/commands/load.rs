//! Loads the [`World`] of a batch: a few set-based queries, whatever the size of the batch.

use std::collections::{HashMap, HashSet};
use std::hash::Hash;

use diesel::{BoolExpressionMethods, ExpressionMethods, QueryDsl, QueryResult, SelectableHelper};
use diesel_async::RunQueryDsl;

use crate::domain::{
    Answered, AttachmentId, CampaignId, Change, Command, CompanyId, Contract, Direction, DirectoryOperation, Draft,
    DraftFile, Fingerprint, MessageId, Number, Room, RoomId, Step, StoredFile, Upload, UserId, World,
};
use crate::on;
use crate::store::rows::{AttachmentRow, ContractRow, RoomRow};
use crate::store::schema::{attachments, contracts, messages, participants, rooms, uploads};
use crate::store::{Conn, directory, log};

/// What the commands name.
#[derive(Default)]
struct Named {
    users: HashSet<UserId>,
    companies: HashSet<CompanyId>,
    campaigns: HashSet<CampaignId>,
    rooms: HashSet<RoomId>,
    pairs: HashSet<(CompanyId, UserId)>,
    keys: HashSet<MessageId>,
    files: HashSet<AttachmentId>,
    uploaders: HashSet<UserId>,
    viewers: HashSet<UserId>,
    movers: HashSet<UserId>,
}

impl Named {
    fn by(commands: &[Command]) -> Self {
        let mut named = Self::default();
        for command in commands {
            named.add(command);
        }
        named
    }

    fn add(&mut self, command: &Command) {
        match command {
            Command::SendMessage(send) => {
                self.users.insert(send.caller);
                self.rooms.insert(send.room_id);
                self.keys.insert(send.key);
                self.add_draft(&send.draft);
            }
            Command::CreateRoom(create) => {
                self.users.insert(create.caller);
                self.keys.insert(create.key);
                self.add_draft(&create.draft);
                let (company, creator) = match create.direction {
                    Direction::UserToCompany { company_id } => (company_id, create.caller),
                    Direction::CompanyToUser { company_id, to_user_id } => (company_id, to_user_id),
                };
                self.users.insert(creator);
                self.companies.insert(company);
                self.pairs.insert((company, creator));
            }
            Command::UpdateLastSeen(update) => {
                self.users.insert(update.caller);
                self.viewers.insert(update.caller);
                self.rooms.insert(update.room_id);
            }
            Command::Upload(Upload::Begin { owner, .. }) => {
                self.users.insert(*owner);
                self.uploaders.insert(*owner);
            }
            Command::Upload(Upload::Finish { file }) => {
                self.users.insert(file.owner);
                self.files.insert(file.id);
            }
            Command::Directory(operations) => operations.iter().for_each(|operation| self.add_operation(operation)),
        }
    }

    fn add_draft(&mut self, draft: &Draft) {
        self.campaigns.extend(draft.switch_to);
        if let Some(Change { step: Step::Propose { campaign_id, .. }, .. }) = draft.change {
            self.campaigns.insert(campaign_id);
        }
        if let Some(DraftFile::Uploaded(id)) = draft.file {
            self.files.insert(id);
        }
    }

    fn add_operation(&mut self, operation: &DirectoryOperation) {
        match operation {
            DirectoryOperation::PutUser { id, company_id, .. } => {
                self.users.insert(*id);
                self.companies.extend(*company_id);
                if company_id.is_some() {
                    self.movers.insert(*id);
                }
            }
            DirectoryOperation::DeleteUser { id, .. } => {
                self.users.insert(*id);
            }
            DirectoryOperation::PutCompany { id, .. } => {
                self.companies.insert(*id);
            }
            DirectoryOperation::PutCampaign { id, company_id, .. } => {
                self.campaigns.insert(*id);
                self.companies.insert(*company_id);
            }
        }
    }
}

fn list<T: Copy + Eq + Hash>(set: &HashSet<T>) -> Vec<T> {
    set.iter().copied().collect()
}

/// Loads what the commands may look at, and the log's newest position.
///
/// # Errors
/// What the database said.
pub async fn world(conn: &mut Conn, commands: &[Command]) -> QueryResult<(World, i64)> {
    let mut named = Named::by(commands);
    let rooms = load_rooms(conn, &named).await?;
    let users = directory::users(conn, &list(&named.users)).await?;
    named.companies.extend(rooms.values().map(|room| room.company_id));
    named.companies.extend(users.values().filter_map(|user| user.company_id));
    let pairs: HashMap<_, _> = rooms.values().map(|room| ((room.company_id, room.creator_id), room.id)).collect();
    let new_rooms: HashSet<CompanyId> =
        named.pairs.iter().filter(|pair| !pairs.contains_key(pair)).map(|(company, _)| *company).collect();
    // The creators of rooms are named in `room_created_with_you` only, and are then among the users already.
    let world = World {
        companies: directory::companies(conn, &list(&named.companies)).await?,
        campaigns: directory::campaigns(conn, &list(&named.campaigns)).await?,
        contracts: load_contracts(conn, &named, &rooms).await?,
        seen: load_seen(conn, &named).await?,
        answered: answered(conn, &named.keys).await?,
        files: load_files(conn, &named).await?,
        unattached: load_unattached(conn, &named).await?,
        employees: directory::employees(conn, &list(&new_rooms)).await?,
        counterparties: load_counterparties(conn, &named).await?,
        users,
        rooms,
        pairs,
    };
    let head = log::head(conn).await?;
    Ok((world, head))
}

async fn load_rooms(conn: &mut Conn, named: &Named) -> QueryResult<HashMap<RoomId, Room>> {
    let mut rows: Vec<RoomRow> = Vec::new();
    if !named.rooms.is_empty() {
        let ids = list(&named.rooms);
        rows = on!(conn, |c| rooms::table.filter(rooms::id.eq_any(&ids)).select(RoomRow::as_select()).load(c))?;
    }
    if !named.pairs.is_empty() {
        let companies: Vec<CompanyId> = named.pairs.iter().map(|pair| pair.0).collect();
        let creators: Vec<UserId> = named.pairs.iter().map(|pair| pair.1).collect();
        let of_pairs: Vec<RoomRow> = on!(conn, |c| rooms::table
            .filter(rooms::creator_id.eq_any(&creators).and(rooms::company_id.eq_any(&companies)))
            .select(RoomRow::as_select())
            .load(c))?;
        // The two lists name more pairs than were asked for.
        rows.extend(of_pairs.into_iter().filter(|row| named.pairs.contains(&(row.company_id, row.creator_id))));
    }
    Ok(rows.into_iter().map(|row| (row.id, row.into())).collect())
}

async fn load_contracts(
    conn: &mut Conn,
    named: &Named,
    rooms: &HashMap<RoomId, Room>,
) -> QueryResult<HashMap<(RoomId, CampaignId), Contract>> {
    let mut campaigns = named.campaigns.clone();
    campaigns.extend(rooms.values().filter_map(|room| room.selected_campaign_id));
    if campaigns.is_empty() || rooms.is_empty() {
        return Ok(HashMap::new());
    }
    let campaigns = list(&campaigns);
    let ids: Vec<RoomId> = rooms.keys().copied().collect();
    let rows: Vec<ContractRow> = on!(conn, |c| contracts::table
        .filter(contracts::room_id.eq_any(&ids).and(contracts::campaign_id.eq_any(&campaigns)))
        .select(ContractRow::as_select())
        .load(c))?;
    Ok(rows.into_iter().map(|row| ((row.room_id, row.campaign_id), row.into())).collect())
}

async fn load_seen(conn: &mut Conn, named: &Named) -> QueryResult<HashMap<(RoomId, UserId), Number>> {
    if named.viewers.is_empty() {
        return Ok(HashMap::new());
    }
    let (rooms, users) = (list(&named.rooms), list(&named.viewers));
    let rows: Vec<(RoomId, UserId, Number)> = on!(conn, |c| participants::table
        .filter(participants::room_id.eq_any(&rooms).and(participants::user_id.eq_any(&users)))
        .select((participants::room_id, participants::user_id, participants::seen_till))
        .load(c))?;
    Ok(rows.into_iter().map(|(room, user, seen)| ((room, user), seen)).collect())
}

/// The messages that already carry one of these keys.
///
/// # Errors
/// What the database said.
pub async fn answered(conn: &mut Conn, keys: &HashSet<MessageId>) -> QueryResult<HashMap<MessageId, Answered>> {
    if keys.is_empty() {
        return Ok(HashMap::new());
    }
    let keys = list(keys);
    let rows: Vec<(MessageId, UserId, RoomId, Number, Fingerprint)> = on!(conn, |c| messages::table
        .filter(messages::id.eq_any(&keys))
        .select((messages::id, messages::from_user, messages::room_id, messages::number, messages::fingerprint))
        .load(c))?;
    let answered = |(id, caller, room_id, number, fingerprint)| (id, Answered { caller, room_id, number, fingerprint });
    Ok(rows.into_iter().map(answered).collect())
}

async fn load_files(conn: &mut Conn, named: &Named) -> QueryResult<HashMap<AttachmentId, StoredFile>> {
    if named.files.is_empty() {
        return Ok(HashMap::new());
    }
    let ids = list(&named.files);
    let rows: Vec<AttachmentRow> = on!(conn, |c| attachments::table
        .filter(attachments::id.eq_any(&ids))
        .select(AttachmentRow::as_select())
        .load(c))?;
    Ok(rows.into_iter().map(|row| (row.id, row.into())).collect())
}

async fn load_unattached(conn: &mut Conn, named: &Named) -> QueryResult<HashMap<UserId, i64>> {
    let mut held = HashMap::new();
    for owner in &named.uploaders {
        held.insert(*owner, unattached(conn, *owner).await?);
    }
    Ok(held)
}

/// Bytes that somebody holds in files no message holds, and in uploads under way.
async fn unattached(conn: &mut Conn, owner: UserId) -> QueryResult<i64> {
    let sizes: Vec<i64> = on!(conn, |c| attachments::table
        .filter(attachments::owner.eq(owner).and(attachments::room_id.is_null()))
        .select(attachments::size)
        .load(c))?;
    let reserved: Vec<i64> =
        on!(conn, |c| uploads::table.filter(uploads::owner.eq(owner)).select(uploads::reserved).load(c))?;
    Ok(sizes.iter().chain(&reserved).sum())
}

async fn load_counterparties(conn: &mut Conn, named: &Named) -> QueryResult<HashSet<(UserId, CompanyId)>> {
    if named.movers.is_empty() {
        return Ok(HashSet::new());
    }
    let ids = list(&named.movers);
    let pairs: Vec<(UserId, CompanyId)> = on!(conn, |c| rooms::table
        .filter(rooms::creator_id.eq_any(&ids))
        .select((rooms::creator_id, rooms::company_id))
        .load(c))?;
    Ok(pairs.into_iter().collect())
}
