//! Random courses of commands.
//!
//! After every command the world must agree with the [`Model`] and with the invariants in [`check_world`].

use proptest::prelude::*;
use proptest::sample::select;

use super::model::{Deal, Model, Pair, Say, Shadow};
use super::*;

const PEOPLE: [UserId; 7] = [ADA, BEN, CAI, NORA, NILS, SAM, NOBODY];
const CREATORS: [UserId; 3] = [ADA, BEN, CAI];
const COMPANIES: [CompanyId; 2] = [NORTH, SOUTH];
const CAMPAIGNS: [CampaignId; 3] = [SPRING, SUMMER, SOUTHERN];
const CHANGES: [&str; 6] = ["propose", "accept", "withdraw", "cancel", "finish", "approve"];

#[derive(Debug, Clone)]
enum Act {
    Send(Say),
    Open { say: Say, by_creator: bool },
    See { caller: UserId, pair: Pair, till: i64 },
    Employ { id: UserId, company: Option<CompanyId> },
    Delete { id: UserId },
    Campaign { id: CampaignId, open: bool },
    Wind { by: i64 },
}

fn pairs() -> impl Strategy<Value = Pair> {
    prop_oneof![3 => Just((NORTH, ADA)), 1 => (select(&COMPANIES[..]), select(&CREATORS[..]))]
}

/// Mostly somebody who belongs there and makes the changes of their own side.
fn says() -> impl Strategy<Value = Say> {
    let callers = prop_oneof![
        4 => Just(None),
        1 => select(&PEOPLE[..]).prop_map(Some),
    ];
    let changes = proptest::option::weighted(0.8, select(&CHANGES[..]));
    let campaigns = prop_oneof![2 => Just(SPRING), 1 => select(&CAMPAIGNS[..])];
    let switches = proptest::option::weighted(0.15, select(&CAMPAIGNS[..]));
    let off_by = || proptest::option::weighted(0.3, prop_oneof![4 => Just(0_i64), 1 => Just(1)]);
    (pairs(), callers, changes, campaigns, 0..3_i64, off_by(), off_by(), switches).prop_map(
        |(pair, caller, change, campaign, cents, version_off_by, payout_off_by, switch_to)| {
            let by_creator = matches!(change, None | Some("accept" | "cancel" | "finish"));
            let employee = if pair.0 == NORTH { NORA } else { SAM };
            let caller = caller.unwrap_or(if by_creator { pair.1 } else { employee });
            Say { caller, pair, change, campaign, cents, version_off_by, payout_off_by, switch_to }
        },
    )
}

fn acts() -> impl Strategy<Value = Act> {
    let homes = [(ADA, None), (BEN, None), (CAI, None), (NORA, Some(NORTH)), (NILS, Some(NORTH)), (SAM, Some(SOUTH))];
    let strays = (select(&PEOPLE[..]), proptest::option::weighted(0.8, select(&COMPANIES[..])));
    let moves = prop_oneof![3 => select(homes.to_vec()), 1 => strays];
    prop_oneof![
        60 => says().prop_map(Act::Send),
        4 => (says(), any::<bool>()).prop_map(|(say, by_creator)| Act::Open { say, by_creator }),
        8 => pairs().prop_map(greeting),
        10 => (select(&PEOPLE[..]), pairs(), 0..40_i64)
            .prop_map(|(caller, pair, till)| Act::See { caller, pair, till }),
        6 => moves.prop_map(|(id, company)| Act::Employ { id, company }),
        1 => select(&PEOPLE[..6]).prop_map(|id| Act::Delete { id }),
        3 => (select(&CAMPAIGNS[..]), proptest::bool::weighted(0.8))
            .prop_map(|(id, open)| Act::Campaign { id, open }),
        5 => (-5..5_i64).prop_map(|by| Act::Wind { by }),
    ]
}

/// A creator writes to a company, without any change.
fn greeting(pair: Pair) -> Act {
    let (caller, campaign) = (pair.1, SPRING);
    let (version_off_by, payout_off_by) = (None, None);
    let say = Say { caller, pair, change: None, campaign, cents: 0, version_off_by, payout_off_by, switch_to: None };
    Act::Open { say, by_creator: true }
}

/// A scene, its model, and what was accepted so far.
struct Course {
    scene: Scene,
    model: Model,
    accepted: Vec<(Command, Receipt)>,
}

impl Course {
    fn new() -> Self {
        let scene = Scene::new();
        Self { model: Model::new(&scene.world), scene, accepted: Vec::new() }
    }

    fn play(&mut self, act: &Act) -> Result<(), TestCaseError> {
        match act {
            Act::Send(say) => self.send(say),
            Act::Open { say, by_creator } => self.open(say, *by_creator),
            Act::See { caller, pair, till } => self.see(*caller, *pair, *till),
            Act::Employ { id, company } => self.employ(*id, *company),
            Act::Delete { id } => {
                let deleted = self.scene.direct(DirectoryOperation::DeleteUser { id: *id, erase: false });
                prop_assert!(deleted.is_ok());
                self.model.people.entry(*id).and_modify(|person| person.1 = false);
                Ok(())
            }
            Act::Campaign { id, open } => {
                let company = self.model.campaigns[id].0;
                prop_assert!(self.scene.direct(put_campaign(*id, company, *open)).is_ok());
                self.model.campaigns.insert(*id, (company, *open));
                Ok(())
            }
            Act::Wind { by } => {
                self.scene.clock += by;
                Ok(())
            }
        }
    }

    fn send(&mut self, say: &Say) -> Result<(), TestCaseError> {
        let room = self.model.rooms.get(&say.pair).cloned();
        let side = self.model.side(say.caller, say.pair);
        let id = room.as_ref().and_then(|room| room.id).unwrap_or(ROOM);
        let expected = room.zip(side).and_then(|(room, side)| self.model.after(say, side, room));
        let send = self.scene.message(say.caller, self.model.draft(say));
        self.run(say.pair, Command::SendMessage(SendMessage { room_id: id, ..send }), expected)
    }

    fn open(&mut self, say: &Say, by_creator: bool) -> Result<(), TestCaseError> {
        let pair = if by_creator { (say.pair.0, say.caller) } else { say.pair };
        let say = Say { pair, ..say.clone() };
        let direction = if by_creator { to_company(pair.0) } else { to_user(pair.0, pair.1) };
        let create = self.scene.create(say.caller, direction);
        let create = CreateRoom { draft: self.model.draft(&say), ..create };

        let (room, model) = (self.model.rooms.get(&pair), &self.model);
        let a_creator = room.is_some() || model.company(pair.1).is_none();
        let reached = room.is_some() || model.active(pair.1);
        let speaks_for = by_creator || (model.company(say.caller) == Some(pair.0) && reached);
        let side = if by_creator { Side::Creator } else { Side::Company };
        let room = room.cloned().unwrap_or_else(|| Shadow { id: Some(create.room_id), ..Shadow::default() });
        let allowed = model.active(say.caller) && a_creator && speaks_for;
        let expected = if allowed { model.after(&say, side, room) } else { None };
        self.run(pair, Command::CreateRoom(create), expected)
    }

    /// Runs a command that appends a message, which must be accepted exactly if the model says so.
    fn run(&mut self, pair: Pair, command: Command, expected: Option<Shadow>) -> Result<(), TestCaseError> {
        let decision = self.scene.run(command.clone());
        prop_assert_eq!(decision.is_ok(), expected.is_some(), "{:?} answered {:?}", command, decision);
        let (Ok((receipt, events)), Some(room)) = (decision, expected) else { return Ok(()) };
        let message = sent(&events);
        let version = room.selected.and_then(|campaign| room.deals.get(&campaign)).map_or(0, |deal| deal.version);
        prop_assert_eq!(Some(message.room_id), room.id);
        prop_assert_eq!(message.number.get(), room.messages);
        prop_assert_eq!(message.contract_version.get(), version);
        prop_assert_eq!(message.at, self.scene.world.rooms[&message.room_id].last_at);
        prop_assert!(message.at >= self.scene.now());
        self.model.rooms.insert(pair, room);
        self.accepted.push((command, receipt));
        Ok(())
    }

    fn see(&mut self, caller: UserId, pair: Pair, till: i64) -> Result<(), TestCaseError> {
        let member = self.model.side(caller, pair).is_some();
        let room = self.model.rooms.get_mut(&pair).filter(|_| member);
        let room_id = room.as_ref().and_then(|room| room.id).unwrap_or(ROOM);
        let update = UpdateLastSeen { caller, room_id, seen_till: number(till) };
        let decision = self.scene.run(Command::UpdateLastSeen(update));
        prop_assert_eq!(decision.is_ok(), room.is_some());
        let (Ok((receipt, events)), Some(room)) = (decision, room) else { return Ok(()) };
        let seen = room.seen.entry(caller).or_default();
        let before = *seen;
        *seen = before.max(till.min(room.messages));
        let answer = Receipt::Seen { seen_till: number(*seen), new_messages: room.messages - *seen };
        prop_assert_eq!(receipt, answer);
        prop_assert_eq!(events.len(), usize::from(*seen > before));
        Ok(())
    }

    fn employ(&mut self, id: UserId, company: Option<CompanyId>) -> Result<(), TestCaseError> {
        let counterparty = company.is_some_and(|company| self.model.rooms.contains_key(&(company, id)));
        let decision = self.scene.direct(put_user(id, company));
        prop_assert_eq!(decision.is_err(), counterparty);
        if counterparty {
            return Ok(());
        }
        let joined = company.filter(|_| self.model.company(id) != company);
        self.model.people.insert(id, (company, true));
        for ((of, _), room) in &mut self.model.rooms {
            if Some(*of) == joined {
                room.seen.insert(id, room.messages);
            }
        }
        Ok(())
    }

    /// Every accepted request, sent again, is answered as before and does nothing, unless its sender lost access.
    fn check_repeats(&self) -> Result<(), TestCaseError> {
        for (command, receipt) in &self.accepted {
            let Receipt::Sent { room_id, message_id, number, .. } = *receipt else { continue };
            let repeat = Receipt::Sent { room_id, message_id, number, repeated: true };
            match self.scene.decide(command) {
                Ok(decision) => prop_assert_eq!(decision, (repeat, vec![])),
                Err(refusal) => prop_assert!(matches!(refusal, Refusal::NotFound | Refusal::Deactivated)),
            }
        }
        Ok(())
    }

    fn check_model(&self) -> Result<(), TestCaseError> {
        let world = &self.scene.world;
        prop_assert_eq!(world.rooms.len(), self.model.rooms.len());
        prop_assert_eq!(world.contracts.len(), self.model.rooms.values().map(|room| room.deals.len()).sum::<usize>());
        for (pair, room) in &self.model.rooms {
            let there = &world.rooms[&world.pairs[pair]];
            prop_assert_eq!((Some(there.id), there.company_id, there.creator_id), (room.id, pair.0, pair.1));
            prop_assert_eq!((there.last_number.get(), there.selected_campaign_id), (room.messages, room.selected));
            for (campaign, deal) in &room.deals {
                let Contract { state, payout, version, .. } = world.contracts[&(there.id, *campaign)];
                prop_assert_eq!(Deal { state, cents: payout.get(), version: version.get() }, *deal);
            }
            for (user, seen) in &room.seen {
                prop_assert_eq!(world.seen.get(&(there.id, *user)).map_or(0, |seen| seen.get()), *seen);
            }
        }
        Ok(())
    }
}

/// What holds between any world and the next, whatever happened.
fn check_world(before: &World, after: &World) -> Result<(), TestCaseError> {
    for room in after.rooms.values() {
        let owner = room.selected_campaign_id.map(|campaign| after.campaigns[&campaign].company_id);
        prop_assert!(owner.is_none_or(|owner| owner == room.company_id));
        prop_assert!(after.users[&room.creator_id].company_id != Some(room.company_id));
        if let Some(earlier) = before.rooms.get(&room.id) {
            let sent = room.last_number.get() - earlier.last_number.get();
            prop_assert!((0..=1).contains(&sent));
            prop_assert!(room.last_at >= earlier.last_at);
        } else {
            prop_assert_eq!(room.last_number, number(1));
        }
    }
    for (key, contract) in &after.contracts {
        let earlier = before.contracts.get(key);
        let changes = contract.version.get() - earlier.map_or(0, |contract| contract.version.get());
        prop_assert!((0..=1).contains(&changes));
        prop_assert!(changes == 1 || earlier == Some(contract));
    }
    for ((room_id, user_id), seen) in &after.seen {
        prop_assert!(*seen <= after.rooms[room_id].last_number);
        prop_assert!(before.seen.get(&(*room_id, *user_id)).is_none_or(|earlier| earlier <= seen));
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_course_follows_the_rules(course in proptest::collection::vec(acts(), 1..200)) {
        let mut played = Course::new();
        for act in &course {
            let before = played.scene.world.clone();
            played.play(act)?;
            check_world(&before, &played.scene.world)?;
            played.check_model()?;
        }
        played.check_repeats()?;
    }
}
