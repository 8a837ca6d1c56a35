//! The host application's users, companies and campaigns, as values.

use std::collections::HashMap;

use super::{CampaignId, CompanyId, Decision, DirectoryOperation, Event, Receipt, Refusal, Side, UserId, World};

/// The name a person has after `?erase=true`.
pub const ERASED_NAME: (&str, &str) = ("Deleted", "user");

/// A company.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Company {
    /// Its id.
    pub id: CompanyId,
    /// What people call it.
    pub name: String,
    /// Its picture: "" or an absolute URL.
    pub logo_url: String,
}

/// A person. Without a company they are a creator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// Their id.
    pub id: UserId,
    /// First name.
    pub given_name: String,
    /// Last name.
    pub family_name: String,
    /// Their picture: "" or an absolute URL.
    pub logo_url: String,
    /// Where they work.
    pub company_id: Option<CompanyId>,
    /// Whether they may do anything.
    pub active: bool,
    /// The log position of their latest change of company or activity: cursors before it are void.
    pub access_position: i64,
}

/// A campaign.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Campaign {
    /// Its id.
    pub id: CampaignId,
    /// Whose it is; never changes.
    pub company_id: CompanyId,
    /// What people call it.
    pub name: String,
    /// Whether it takes new proposals.
    pub open: bool,
}

/// A person as others see them: the directory entry with the company they are shown with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Profile {
    /// Their id.
    pub id: UserId,
    /// First name.
    pub given_name: String,
    /// Last name.
    pub family_name: String,
    /// Their picture.
    pub logo_url: String,
    /// The company they speak, or spoke, for.
    pub company: Option<Company>,
    /// Whether their live status may be shown: not for somebody who has left or was deactivated.
    pub present: bool,
}

impl User {
    /// How others see this person beside `company`.
    #[must_use]
    pub fn profile(&self, company: Option<Company>) -> Profile {
        Profile {
            id: self.id,
            given_name: self.given_name.clone(),
            family_name: self.family_name.clone(),
            logo_url: self.logo_url.clone(),
            present: self.active && self.company_id == company.as_ref().map(|c| c.id),
            company,
        }
    }

    /// How others see this person on one side of a room of `room_company`: an employee, also a former one, with that
    /// company.
    #[must_use]
    pub fn profile_on(&self, side: Side, room_company: CompanyId, companies: &HashMap<CompanyId, Company>) -> Profile {
        let company = match side {
            Side::Company => Some(room_company),
            Side::Creator => self.company_id,
        };
        self.profile(company.and_then(|id| companies.get(&id)).cloned())
    }
}

/// Decides a batch of operations, each on what the ones before it made: all or nothing.
///
/// The receipt says whether the first operation made a new entry, which is what a single `PUT` answers.
///
/// # Errors
/// The first refusal; of a longer batch, with the operation's index.
pub fn decide_all(world: &World, operations: &[DirectoryOperation]) -> Result<Decision, Refusal> {
    if let [operation] = operations {
        let (created, event) = decide_one(world, operation)?;
        return Ok((Receipt::Directory { created }, vec![event]));
    }
    let mut scratch = world.clone();
    let mut events = Vec::with_capacity(operations.len());
    let mut first = None;
    for (index, operation) in operations.iter().enumerate() {
        let refused = |refusal| Refusal::Operation { index, refusal: Box::new(refusal) };
        let (created, event) = decide_one(&scratch, operation).map_err(refused)?;
        first.get_or_insert(created);
        scratch.apply(&event);
        events.push(event);
    }
    Ok((Receipt::Directory { created: first.unwrap_or(false) }, events))
}

fn decide_one(world: &World, operation: &DirectoryOperation) -> Result<(bool, Event), Refusal> {
    match operation {
        DirectoryOperation::PutUser { id, given_name, family_name, logo_url, company_id } => {
            let user = User {
                id: *id,
                given_name: given_name.clone().into(),
                family_name: family_name.clone().into(),
                logo_url: logo_url.clone().into(),
                company_id: *company_id,
                active: true,
                access_position: world.users.get(id).map_or(0, |user| user.access_position),
            };
            put_user(world, user)
        }
        DirectoryOperation::DeleteUser { id, erase } => delete_user(world, *id, *erase),
        DirectoryOperation::PutCompany { id, name, logo_url } => {
            let company = Company { id: *id, name: name.clone().into(), logo_url: logo_url.clone().into() };
            Ok((!world.companies.contains_key(id), Event::CompanyPut(company)))
        }
        DirectoryOperation::PutCampaign { id, company_id, name, open } => {
            if !world.companies.contains_key(company_id) {
                return Err(Refusal::Unknown { what: "unknown_company", pointer: "/company_id" });
            }
            let before = world.campaigns.get(id);
            if before.is_some_and(|campaign| campaign.company_id != *company_id) {
                return Err(Refusal::CompanyFixed);
            }
            let campaign = Campaign { id: *id, company_id: *company_id, name: name.clone().into(), open: *open };
            Ok((before.is_none(), Event::CampaignPut(campaign)))
        }
    }
}

fn put_user(world: &World, user: User) -> Result<(bool, Event), Refusal> {
    let before = world.users.get(&user.id);
    let was_in = before.and_then(|before| before.company_id);
    let joined = user.company_id.filter(|id| Some(*id) != was_in);
    if let Some(company_id) = user.company_id {
        if !world.companies.contains_key(&company_id) {
            return Err(Refusal::Unknown { what: "unknown_company", pointer: "/company_id" });
        }
        if world.counterparties.contains(&(user.id, company_id)) {
            return Err(Refusal::IsCounterparty);
        }
    }
    let moved = before.is_none_or(|before| !before.active || before.company_id != user.company_id);
    Ok((before.is_none(), Event::UserPut { user, joined, moved }))
}

fn delete_user(world: &World, id: UserId, erase: bool) -> Result<(bool, Event), Refusal> {
    let before = world.users.get(&id).ok_or(Refusal::NotFound)?;
    let mut user = User { active: false, ..before.clone() };
    if erase {
        ERASED_NAME.0.clone_into(&mut user.given_name);
        ERASED_NAME.1.clone_into(&mut user.family_name);
        user.logo_url = String::new();
    }
    Ok((false, Event::UserPut { user, joined: None, moved: before.active }))
}
