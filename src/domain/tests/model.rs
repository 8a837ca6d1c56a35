//! The rules told a second time, and much smaller: the wire contract's table as a list, and which message must be
//! accepted.

use std::collections::HashMap;

use super::*;

/// Who makes which change, from where to where.
pub const TABLE: [(Side, Option<ContractState>, &str, ContractState); 10] = {
    use ContractState::{Accepted, Approved, Cancelled, Finished, Proposed, Withdrawn};
    use Side::{Company, Creator};
    [
        (Company, None, "propose", Proposed),
        (Company, Some(Proposed), "propose", Proposed),
        (Company, Some(Withdrawn), "propose", Proposed),
        (Company, Some(Cancelled), "propose", Proposed),
        (Creator, Some(Proposed), "accept", Accepted),
        (Company, Some(Proposed), "withdraw", Withdrawn),
        (Creator, Some(Proposed), "cancel", Cancelled),
        (Creator, Some(Accepted), "cancel", Cancelled),
        (Creator, Some(Accepted), "finish", Finished),
        (Company, Some(Finished), "approve", Approved),
    ]
};

pub type Pair = (CompanyId, UserId);

/// A message, with its guards relative to what is in force: 0 holds.
#[derive(Debug, Clone)]
pub struct Say {
    pub caller: UserId,
    pub pair: Pair,
    pub change: Option<&'static str>,
    pub campaign: CampaignId,
    pub cents: i64,
    pub version_off_by: Option<i64>,
    pub payout_off_by: Option<i64>,
    pub switch_to: Option<CampaignId>,
}

/// A contract.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Deal {
    pub state: ContractState,
    pub cents: i64,
    pub version: i64,
}

/// A room: what must be there.
#[derive(Debug, Clone, Default)]
pub struct Shadow {
    pub id: Option<RoomId>,
    pub messages: i64,
    pub selected: Option<CampaignId>,
    pub deals: HashMap<CampaignId, Deal>,
    pub seen: HashMap<UserId, i64>,
}

/// The directory and the rooms as they must stand.
pub struct Model {
    pub people: HashMap<UserId, (Option<CompanyId>, bool)>,
    pub campaigns: HashMap<CampaignId, (CompanyId, bool)>,
    pub rooms: HashMap<Pair, Shadow>,
}

impl Model {
    pub fn new(world: &World) -> Self {
        Self {
            people: world.users.values().map(|user| (user.id, (user.company_id, user.active))).collect(),
            campaigns: world.campaigns.values().map(|c| (c.id, (c.company_id, c.open))).collect(),
            rooms: HashMap::new(),
        }
    }

    pub fn active(&self, id: UserId) -> bool {
        self.people.get(&id).is_some_and(|(_, active)| *active)
    }

    pub fn company(&self, id: UserId) -> Option<CompanyId> {
        self.people.get(&id).and_then(|(company, _)| *company)
    }

    pub fn side(&self, caller: UserId, pair: Pair) -> Option<Side> {
        if !self.active(caller) {
            None
        } else if caller == pair.1 {
            Some(Side::Creator)
        } else {
            (self.company(caller) == Some(pair.0)).then_some(Side::Company)
        }
    }

    /// The room after the message, if it must be accepted.
    pub fn after(&self, say: &Say, side: Side, mut room: Shadow) -> Option<Shadow> {
        let proposed = say.change == Some("propose");
        let of_company = |id| self.campaigns[&id].0 == say.pair.0;
        if let Some(to) = say.switch_to {
            if !of_company(to) || (proposed && to != say.campaign) {
                return None;
            }
            room.selected = Some(to);
        }
        if proposed {
            if !of_company(say.campaign) || !self.campaigns[&say.campaign].1 {
                return None;
            }
            room.selected = Some(say.campaign);
        }
        if let Some(change) = say.change {
            let campaign = room.selected?;
            let deal = room.deals.get(&campaign).copied();
            let row = TABLE.iter().find(|row| (row.0, row.1, row.2) == (side, deal.map(|d| d.state), change))?;
            let payout_off = change == "accept" && say.payout_off_by.is_some_and(|off| off != 0);
            if say.version_off_by.is_some_and(|off| off != 0) || payout_off {
                return None;
            }
            let cents = if proposed { say.cents } else { deal?.cents };
            room.deals.insert(campaign, Deal { state: row.3, cents, version: deal.map_or(0, |d| d.version) + 1 });
        }
        room.messages += 1;
        room.seen.insert(say.caller, room.messages);
        Some(room)
    }

    /// The message in the domain's terms, with its guards made absolute.
    pub fn draft(&self, say: &Say) -> Draft {
        let room = self.rooms.get(&say.pair);
        let selected = say.switch_to.or(room.and_then(|room| room.selected));
        let campaign = if say.change == Some("propose") { Some(say.campaign) } else { selected };
        let deal = campaign.and_then(|campaign| room?.deals.get(&campaign).copied());
        let draft = match say.change {
            None => text("hi"),
            Some("propose") => step(propose(say.campaign, say.cents)),
            Some("accept") => step(Step::Accept),
            Some("withdraw") => step(Step::Withdraw),
            Some("cancel") => step(Step::Cancel),
            Some("finish") => step(Step::Finish),
            Some(_) => step(Step::Approve),
        };
        let version = say.version_off_by.map(|off| deal.map_or(0, |d| d.version) + off);
        let payout = say.payout_off_by.map(|off| deal.map_or(0, |d| d.cents) + off);
        let payout = payout.filter(|_| say.change == Some("accept"));
        Draft { switch_to: say.switch_to, ..draft.guarded(version, payout) }
    }
}
