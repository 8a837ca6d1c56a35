//! Loads the [`World`] of a batch: a few set-based queries, whatever the size of the batch.

use std::collections::{HashMap, HashSet};

use diesel::{
    BoolExpressionMethods, ExpressionMethods, JoinOnDsl, NullableExpressionMethods, QueryDsl, QueryResult,
    SelectableHelper,
};
use diesel_async::RunQueryDsl;
use futures_util::join;

use crate::domain::{
    Answered, AttachmentId, CampaignId, Change, Command, CompanyId, Contract, Direction, DirectoryOperation, Draft,
    DraftFile, Fingerprint, MessageId, Number, RoomId, Step, StoredFile, Upload, User, UserId, World,
};
use crate::on;
use crate::store::bulk::{Keep, in_few_sizes};
use crate::store::rows::{AttachmentRow, CompanyRow, ContractRow, RoomRow, UserRow};
use crate::store::schema::{attachments, companies, contracts, messages, participants, rooms, uploads, users};
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

/// Loads what the commands may look at, and the log's newest position: all that only their words are needed for at
/// once, and then what the rooms are needed for, which most batches do without.
///
/// # Errors
/// What the database said.
pub async fn world(conn: &Conn, commands: &[Command]) -> QueryResult<(World, i64)> {
    let named = Named::by(commands);
    let (rooms, of_pairs, users, companies, campaigns, seen, answered, files, unattached, counterparties, head) = join!(
        rooms_by_id(conn, &named),
        rooms_by_pair(conn, &named),
        load_users(conn, &named),
        directory::companies(conn, &named.companies),
        directory::campaigns(conn, &named.campaigns),
        load_seen(conn, &named),
        answered(conn, &named.keys),
        load_files(conn, &named),
        load_unattached(conn, &named),
        load_counterparties(conn, &named),
        log::head(conn),
    );
    let mut world = World {
        companies: companies?,
        campaigns: campaigns?,
        seen: seen?,
        answered: answered?,
        files: files?,
        unattached: unattached?,
        counterparties: counterparties?,
        ..World::default()
    };
    for (user, company) in users? {
        world.companies.extend(company.map(|company| (company.id, company.into())));
        world.users.insert(user.id, user.into());
    }
    for (room, company, contract) in rooms?.into_iter().chain(of_pairs?) {
        world.companies.insert(company.id, company.into());
        world.contracts.extend(contract.map(|row| ((row.room_id, row.campaign_id), row.into())));
        world.pairs.insert((room.company_id, room.creator_id), room.id);
        world.rooms.insert(room.id, room.into());
    }
    let (contracts, employees) = join!(load_contracts(conn, &named, &world), load_employees(conn, &named, &world));
    world.contracts.extend(contracts?);
    world.employees = employees?;
    Ok((world, head?))
}

/// A room, its company, and its contract about the selected campaign.
type FoundRoom = (RoomRow, CompanyRow, Option<ContractRow>);

/// The rooms that pass a filter. (A macro, since the type of such a query differs from filter to filter.)
macro_rules! rooms_where {
    ($conn:expr, $filter:expr) => {
        on!($conn, |c| rooms::table
            .inner_join(companies::table)
            .left_join(contracts::table.on(
                contracts::room_id.eq(rooms::id).and(contracts::campaign_id.nullable().eq(rooms::selected_campaign_id))
            ),)
            .filter($filter)
            .select((RoomRow::as_select(), CompanyRow::as_select(), Option::<ContractRow>::as_select()))
            .kept()
            .load(c))
    };
}

async fn rooms_by_id(conn: &Conn, named: &Named) -> QueryResult<Vec<FoundRoom>> {
    if named.rooms.is_empty() {
        return Ok(Vec::new());
    }
    let ids = in_few_sizes(&named.rooms);
    rooms_where!(conn, rooms::id.eq_any(&ids))
}

async fn rooms_by_pair(conn: &Conn, named: &Named) -> QueryResult<Vec<FoundRoom>> {
    if named.pairs.is_empty() {
        return Ok(Vec::new());
    }
    let (companies, creators): (Vec<CompanyId>, Vec<UserId>) = in_few_sizes(&named.pairs).into_iter().unzip();
    let mut found: Vec<FoundRoom> =
        rooms_where!(conn, rooms::creator_id.eq_any(&creators).and(rooms::company_id.eq_any(&companies)))?;
    // The two lists name more pairs than were asked for.
    found.retain(|(room, ..)| named.pairs.contains(&(room.company_id, room.creator_id)));
    Ok(found)
}

async fn load_users(conn: &Conn, named: &Named) -> QueryResult<Vec<(UserRow, Option<CompanyRow>)>> {
    if named.users.is_empty() {
        return Ok(Vec::new());
    }
    let ids = in_few_sizes(&named.users);
    on!(conn, |c| users::table
        .left_join(companies::table.on(companies::id.nullable().eq(users::company_id)))
        .filter(users::id.eq_any(&ids))
        .select((UserRow::as_select(), Option::<CompanyRow>::as_select()))
        .kept()
        .load(c))
}

/// The contracts of the rooms about campaigns that are named; those about the selected ones come with the rooms.
async fn load_contracts(
    conn: &Conn,
    named: &Named,
    world: &World,
) -> QueryResult<HashMap<(RoomId, CampaignId), Contract>> {
    if named.campaigns.is_empty() || world.rooms.is_empty() {
        return Ok(HashMap::new());
    }
    let campaigns = in_few_sizes(&named.campaigns);
    let ids = in_few_sizes(world.rooms.keys());
    let rows: Vec<ContractRow> = on!(conn, |c| contracts::table
        .filter(contracts::room_id.eq_any(&ids).and(contracts::campaign_id.eq_any(&campaigns)))
        .select(ContractRow::as_select())
        .kept()
        .load(c))?;
    Ok(rows.into_iter().map(|row| ((row.room_id, row.campaign_id), row.into())).collect())
}

/// Who will be told of the rooms that do not exist yet.
async fn load_employees(conn: &Conn, named: &Named, world: &World) -> QueryResult<HashMap<CompanyId, Vec<User>>> {
    let new = named.pairs.iter().filter(|pair| !world.pairs.contains_key(pair));
    let companies: HashSet<CompanyId> = new.map(|(company, _)| *company).collect();
    directory::employees(conn, &companies).await
}

async fn load_seen(conn: &Conn, named: &Named) -> QueryResult<HashMap<(RoomId, UserId), Number>> {
    if named.viewers.is_empty() {
        return Ok(HashMap::new());
    }
    let (rooms, users) = (in_few_sizes(&named.rooms), in_few_sizes(&named.viewers));
    let rows: Vec<(RoomId, UserId, Number)> = on!(conn, |c| participants::table
        .filter(participants::room_id.eq_any(&rooms).and(participants::user_id.eq_any(&users)))
        .select((participants::room_id, participants::user_id, participants::seen_till))
        .kept()
        .load(c))?;
    Ok(rows.into_iter().map(|(room, user, seen)| ((room, user), seen)).collect())
}

/// The messages that already carry one of these keys.
///
/// # Errors
/// What the database said.
pub async fn answered(conn: &Conn, keys: &HashSet<MessageId>) -> QueryResult<HashMap<MessageId, Answered>> {
    if keys.is_empty() {
        return Ok(HashMap::new());
    }
    let keys = in_few_sizes(keys);
    let rows: Vec<(MessageId, UserId, RoomId, Number, Fingerprint)> = on!(conn, |c| messages::table
        .filter(messages::id.eq_any(&keys))
        .select((messages::id, messages::from_user, messages::room_id, messages::number, messages::fingerprint))
        .kept()
        .load(c))?;
    let answered = |(id, caller, room_id, number, fingerprint)| (id, Answered { caller, room_id, number, fingerprint });
    Ok(rows.into_iter().map(answered).collect())
}

async fn load_files(conn: &Conn, named: &Named) -> QueryResult<HashMap<AttachmentId, StoredFile>> {
    if named.files.is_empty() {
        return Ok(HashMap::new());
    }
    let ids = in_few_sizes(&named.files);
    let rows: Vec<AttachmentRow> = on!(conn, |c| attachments::table
        .filter(attachments::id.eq_any(&ids))
        .select(AttachmentRow::as_select())
        .kept()
        .load(c))?;
    Ok(rows.into_iter().map(|row| (row.id, row.into())).collect())
}

async fn load_unattached(conn: &Conn, named: &Named) -> QueryResult<HashMap<UserId, i64>> {
    let mut held = HashMap::new();
    for owner in &named.uploaders {
        held.insert(*owner, unattached(conn, *owner).await?);
    }
    Ok(held)
}

/// Bytes that somebody holds in files no message holds, and in uploads under way.
async fn unattached(conn: &Conn, owner: UserId) -> QueryResult<i64> {
    let sizes = async {
        on!(conn, |c| attachments::table
            .filter(attachments::owner.eq(owner).and(attachments::room_id.is_null()))
            .select(attachments::size)
            .load::<i64>(c))
    };
    let reserved = async {
        on!(conn, |c| uploads::table.filter(uploads::owner.eq(owner)).select(uploads::reserved).load::<i64>(c))
    };
    let (sizes, reserved) = join!(sizes, reserved);
    Ok(sizes?.iter().chain(&reserved?).sum())
}

async fn load_counterparties(conn: &Conn, named: &Named) -> QueryResult<HashSet<(UserId, CompanyId)>> {
    if named.movers.is_empty() {
        return Ok(HashSet::new());
    }
    let ids = in_few_sizes(&named.movers);
    let pairs: Vec<(UserId, CompanyId)> = on!(conn, |c| rooms::table
        .filter(rooms::creator_id.eq_any(&ids))
        .select((rooms::creator_id, rooms::company_id))
        .kept()
        .load(c))?;
    Ok(pairs.into_iter().collect())
}
