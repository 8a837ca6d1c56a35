//! Campaigns, guards and the contract, as a message moves them.

use super::*;

const STEPS: [Step; 5] = [Step::Accept, Step::Withdraw, Step::Cancel, Step::Finish, Step::Approve];

#[test]
fn every_change_belongs_to_one_side() {
    for change in [propose(SPRING, 1)].into_iter().chain(STEPS) {
        let wrong = if change.side() == Side::Company { ADA } else { NORA };
        let mut scene = Scene::with_proposal();
        assert_eq!(code(scene.say(wrong, step(change))), "wrong_side", "{change:?}");
    }
}

#[test]
fn a_deal_goes_through_its_states() {
    use ContractState as S;
    let mut scene = Scene::with_room();
    let course = [
        (NORA, propose(SPRING, 100), S::Proposed),
        (NILS, Step::Withdraw, S::Withdrawn),
        (NORA, propose(SPRING, 110), S::Proposed),
        (ADA, Step::Cancel, S::Cancelled),
        (NORA, propose(SPRING, 120), S::Proposed),
        (NORA, propose(SPRING, 130), S::Proposed),
        (ADA, Step::Accept, S::Accepted),
        (ADA, Step::Finish, S::Finished),
        (NILS, Step::Approve, S::Approved),
    ];
    for (versions, (caller, change, state)) in (1..).zip(course) {
        let message = scene.say(caller, step(change)).unwrap();
        let contract = scene.contract(SPRING).unwrap();
        assert_eq!((contract.state, contract.version), (state, version(versions)));
        assert_eq!((contract.changed_by, contract.changed_in), (caller, message.number));
        assert_eq!(message.contract_version, contract.version);
    }
    assert_eq!(scene.contract(SPRING).unwrap().payout, payout(130));
}

#[test]
fn a_refused_change_carries_the_contract_in_force() {
    let mut scene = Scene::with_proposal();
    let current = scene.contract(SPRING);
    for draft in [step(Step::Finish), step(Step::Accept).guarded(Some(9), None)] {
        assert_eq!(scene.say(ADA, draft).unwrap_err().contract(), current);
    }
}

/// (selected before, `change_selected_campaign_to`, the company proposes for) → answer.
#[test]
fn a_proposal_names_an_open_campaign_of_the_rooms_company() {
    let cases = [
        (None, None, SPRING, "ok"),
        (Some(SUMMER), None, SPRING, "ok"),
        (None, Some(SPRING), SPRING, "ok"),
        (None, None, SOUTHERN, "unknown_campaign"),
        (None, None, NO_CAMPAIGN, "unknown_campaign"),
        (None, Some(SUMMER), SPRING, "campaign_mismatch"),
        (None, Some(SOUTHERN), SPRING, "unknown_campaign"),
    ];
    for (selected, switch_to, campaign, expected) in cases {
        let mut scene = Scene::with_room();
        scene.world.rooms.get_mut(&ROOM).unwrap().selected_campaign_id = selected;
        let draft = Draft { switch_to, ..step(propose(campaign, 100)) };
        assert_eq!(code(scene.say(NORA, draft)), expected, "{selected:?} {switch_to:?} {campaign}");
        let after = if expected == "ok" { Some(campaign) } else { selected };
        assert_eq!(scene.room().selected_campaign_id, after);
    }
}

#[test]
fn other_changes_need_a_selected_campaign() {
    for change in STEPS {
        let caller = if change.side() == Side::Company { NORA } else { ADA };
        let mut scene = Scene::with_room();
        assert_eq!(code(scene.say(caller, step(change))), "no_selected_campaign", "{change:?}");
        assert_eq!(code(scene.say(caller, step(change).switching_to(SPRING))), "no_proposal", "{change:?}");
    }
}

#[test]
fn a_switch_is_applied_before_the_change_beside_it() {
    let mut scene = Scene::with_proposal();
    scene.say(NORA, step(propose(SUMMER, 500))).unwrap();
    scene.say(ADA, step(Step::Accept).switching_to(SPRING)).unwrap();
    assert_eq!(scene.contract(SPRING).unwrap().state, ContractState::Accepted);
    assert_eq!(scene.contract(SUMMER).unwrap().state, ContractState::Proposed);
    assert_eq!(scene.room().selected_campaign_id, Some(SPRING));
}

#[test]
fn either_side_switches_and_only_to_the_rooms_company() {
    for caller in [ADA, NORA] {
        let mut scene = Scene::with_proposal();
        let message = scene.say(caller, text("").switching_to(SUMMER)).unwrap();
        assert_eq!(scene.room().selected_campaign_id, Some(SUMMER));
        assert_eq!((message.switched_to, message.contract_version), (Some(SUMMER), Version::ZERO));
        for campaign in [SOUTHERN, NO_CAMPAIGN] {
            let pointer = "/change_selected_campaign_to";
            let unknown = Refusal::Unknown { what: "unknown_campaign", pointer };
            assert_eq!(scene.say(caller, text("").switching_to(campaign)), Err(unknown));
        }
    }
}

#[test]
fn a_refused_change_refuses_the_switch_beside_it() {
    let mut scene = Scene::with_proposal();
    scene.say(ADA, step(Step::Accept).switching_to(SUMMER)).unwrap_err();
    assert_eq!(scene.room().selected_campaign_id, Some(SPRING));
}

#[test]
fn a_closed_campaign_takes_no_proposals_and_keeps_its_contract() {
    let mut scene = Scene::with_proposal();
    scene.close(SPRING);
    scene.close(SUMMER);
    assert_eq!(code(scene.say(NORA, step(propose(SPRING, 200)))), "campaign_closed");
    assert_eq!(code(scene.say(NORA, step(propose(SUMMER, 200)))), "campaign_closed");
    for (caller, change) in [(ADA, Step::Accept), (ADA, Step::Finish), (NORA, Step::Approve)] {
        assert_eq!(code(scene.say(caller, step(change))), "ok", "{change:?}");
    }
    assert_eq!(code(scene.say(ADA, text("").switching_to(SUMMER))), "ok");
}

/// (expected version, expected payout) → answer, with version 1 and a payout of 100 in force.
#[test]
fn accepting_holds_only_for_the_terms_that_were_seen() {
    let cases = [
        (None, None, "ok"),
        (Some(1), None, "ok"),
        (None, Some(100), "ok"),
        (Some(1), Some(100), "ok"),
        (Some(0), None, "terms_changed"),
        (Some(2), None, "terms_changed"),
        (None, Some(99), "terms_changed"),
        (Some(1), Some(99), "terms_changed"),
        (Some(2), Some(100), "terms_changed"),
    ];
    for (version, cents, expected) in cases {
        let draft = step(Step::Accept).guarded(version, cents);
        assert_eq!(code(Scene::with_proposal().say(ADA, draft)), expected, "{version:?} {cents:?}");
    }
}

#[test]
fn of_two_guarded_changes_one_wins() {
    let withdraw = || (NORA, step(Step::Withdraw).guarded(Some(1), None));
    let revise = || (NILS, step(propose(SPRING, 90)).guarded(Some(1), None));
    let accept = || (ADA, step(Step::Accept).guarded(Some(1), Some(100)));
    for (first, second) in [(accept(), withdraw()), (withdraw(), accept()), (revise(), accept()), (accept(), revise())]
    {
        let mut scene = Scene::with_proposal();
        assert_eq!(code(scene.say(first.0, first.1)), "ok");
        assert_eq!(code(scene.say(second.0, second.1)), "terms_changed");
    }
}

#[test]
fn without_a_contract_a_guard_finds_no_proposal() {
    let cases = [
        (NORA, step(propose(SPRING, 1)).guarded(Some(1), None), "no_proposal"),
        (NORA, step(propose(SPRING, 1)).guarded(Some(0), None), "ok"),
        (ADA, step(Step::Accept).switching_to(SPRING).guarded(Some(3), Some(5)), "no_proposal"),
        (ADA, step(Step::Accept).switching_to(SPRING).guarded(None, Some(5)), "no_proposal"),
    ];
    for (caller, draft, expected) in cases {
        assert_eq!(code(Scene::with_room().say(caller, draft.clone())), expected, "{draft:?}");
    }
}

/// With `HAGGLE_REQUIRE_GUARDS`: who changes what is in force says what they have seen.
#[test]
fn a_deployment_can_require_guards() {
    let cases = [
        (NORA, step(propose(SPRING, 200)), "guard_required"),
        (NORA, step(propose(SPRING, 200)).guarded(Some(1), None), "ok"),
        (NORA, step(propose(SUMMER, 200)), "ok"),
        (ADA, step(Step::Accept), "guard_required"),
        (ADA, step(Step::Accept).guarded(None, Some(100)), "ok"),
        (ADA, step(Step::Cancel), "guard_required"),
        (ADA, step(Step::Cancel).guarded(Some(1), None), "ok"),
        (ADA, text("no change at all"), "ok"),
    ];
    for (caller, draft, expected) in cases {
        let mut scene = Scene::with_proposal();
        scene.rules.require_guards = true;
        assert_eq!(code(scene.say(caller, draft.clone())), expected, "{draft:?}");
    }
}

#[test]
fn each_room_has_its_own_contract_for_a_campaign() {
    let mut scene = Scene::with_proposal();
    let mut create = scene.create(NORA, to_user(NORTH, BEN));
    create.draft = step(propose(SPRING, 300));
    let (_, events) = scene.run(Command::CreateRoom(create)).unwrap();
    assert_eq!(sent(&events).contract_version, version(1));
    assert_eq!(scene.contract(SPRING).unwrap().payout, payout(100));
}
