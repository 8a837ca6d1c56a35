//! Sending to a room: the order of the checks, idempotency, numbers and times.

use super::*;

/// Breaks every rule at once, then mends one after the other: each check answers in its turn.
#[test]
fn checks_come_in_the_order_of_the_wire_contract() {
    let mut scene = Scene::with_room();
    scene.rules.require_guards = true;
    scene.say(NORA, step(propose(SPRING, 100))).unwrap();
    scene.close(SPRING);
    scene.deactivate(BEN);
    let file = uploads::attached(&mut scene, ADA);
    let taken = scene.say(NORA, text("takes a key")).unwrap().id;

    let draft = step(propose(NO_CAMPAIGN, 200)).switching_to(NO_CAMPAIGN).holding(AttachmentId(Uuid::nil()));
    let mut send = SendMessage { key: taken, from_user_id: Some(CAI), ..scene.message(NOBODY, draft) };
    let answer = |scene: &Scene, send: &SendMessage| code(scene.decide(&Command::SendMessage(send.clone())));

    assert_eq!(answer(&scene, &send), "unknown_user");
    send.caller = BEN;
    assert_eq!(answer(&scene, &send), "deactivated");
    send.caller = SAM;
    assert_eq!(answer(&scene, &send), "not_found");
    send.caller = ADA;
    assert_eq!(answer(&scene, &send), "idempotency_key_reused");
    send.key = MessageId(scene.fresh());
    assert_eq!(answer(&scene, &send), "from_user_mismatch");
    send.from_user_id = Some(ADA);
    assert_eq!(answer(&scene, &send), "unknown_attachment");
    send.draft = send.draft.holding(file);
    assert_eq!(answer(&scene, &send), "attachment_used");
    send.draft.file = None;
    assert_eq!(answer(&scene, &send), "wrong_side");
    (send.caller, send.from_user_id) = (NORA, None);
    assert_eq!(answer(&scene, &send), "unknown_campaign");
    send.draft = send.draft.switching_to(SUMMER);
    assert_eq!(answer(&scene, &send), "unknown_campaign");
    send.draft.change = step(propose(SPRING, 200)).change;
    assert_eq!(answer(&scene, &send), "campaign_mismatch");
    send.draft.switch_to = None;
    assert_eq!(answer(&scene, &send), "campaign_closed");
    scene.world.campaigns.get_mut(&SPRING).unwrap().open = true;
    scene.say(ADA, step(Step::Accept).guarded(Some(1), None)).unwrap();
    assert_eq!(answer(&scene, &send), "guard_required");
    send.draft = send.draft.guarded(Some(1), None);
    assert_eq!(answer(&scene, &send), "terms_changed");
    send.draft = send.draft.guarded(Some(2), None);
    assert_eq!(answer(&scene, &send), "already_accepted");
    send.draft.change = None;
    assert_eq!(answer(&scene, &send), "ok");
}

#[test]
fn only_members_find_the_room() {
    let cases = [(ADA, "ok"), (NORA, "ok"), (NILS, "ok"), (BEN, "not_found"), (SAM, "not_found")];
    for (caller, expected) in cases {
        assert_eq!(code(Scene::with_room().say(caller, text("hi"))), expected, "{caller}");
    }
    let mut scene = Scene::with_room();
    let send = SendMessage { room_id: RoomId(Uuid::nil()), ..scene.message(ADA, text("hi")) };
    assert_eq!(scene.run(Command::SendMessage(send)), Err(Refusal::NotFound));
}

#[test]
fn a_side_is_the_room_creators_or_the_companys() {
    let mut scene = Scene::with_room();
    assert_eq!(scene.say(ADA, text("hi")).unwrap().side, Side::Creator);
    assert_eq!(scene.say(NILS, text("hi")).unwrap().side, Side::Company);
}

#[test]
fn the_deactivated_are_on_no_side() {
    let scene = Scene::with_room();
    for (id, company_id) in [(ADA, None), (NORA, Some(NORTH))] {
        assert_eq!(scene.room().side_of(&User { active: false, ..user(id, company_id) }), None);
    }
}

#[test]
fn who_leaves_the_company_loses_the_room() {
    let mut scene = Scene::with_room();
    scene.say(NORA, text("hi")).unwrap();
    for elsewhere in [None, Some(SOUTH)] {
        scene.direct(put_user(NORA, elsewhere)).unwrap();
        assert_eq!(code(scene.say(NORA, text("hi"))), "not_found");
    }
    scene.direct(put_user(NORA, Some(NORTH))).unwrap();
    assert_eq!(code(scene.say(NORA, text("hi"))), "ok");
}

#[test]
fn a_repeat_gets_the_first_answer_and_does_nothing() {
    let mut scene = Scene::with_room();
    let send = scene.message(ADA, text("once"));
    let again = Command::SendMessage(send.clone());
    let (first, _) = scene.run(again.clone()).unwrap();
    scene.say(NORA, text("something between")).unwrap();
    let Receipt::Sent { room_id, message_id, number, repeated: false } = first else { panic!("{first:?}") };
    let repeat = Receipt::Sent { room_id, message_id, number, repeated: true };
    assert_eq!(scene.run(again), Ok((repeat, vec![])));
    assert_eq!(message_id, send.key);
}

#[test]
fn a_key_belongs_to_one_request_of_one_caller() {
    let mut scene = Scene::with_room();
    let send = scene.message(NORA, text("once"));
    scene.run(Command::SendMessage(send.clone())).unwrap();
    let other_body = SendMessage { fingerprint: fingerprint(9), ..send.clone() };
    let other_caller = SendMessage { caller: NILS, ..send.clone() };
    for reuse in [other_body, other_caller] {
        assert_eq!(scene.run(Command::SendMessage(reuse)), Err(Refusal::KeyReused));
    }
    let create = CreateRoom { key: send.key, ..scene.create(NORA, to_user(NORTH, ADA)) };
    assert_eq!(scene.run(Command::CreateRoom(create)), Err(Refusal::KeyReused));
}

#[test]
fn a_repeat_needs_membership_still() {
    let mut scene = Scene::with_room();
    let again = Command::SendMessage(scene.message(NORA, text("once")));
    scene.run(again.clone()).unwrap();
    scene.direct(put_user(NORA, None)).unwrap();
    assert_eq!(scene.run(again), Err(Refusal::NotFound));
}

#[test]
fn a_refusal_is_not_remembered() {
    let mut scene = Scene::with_room();
    let later = Command::SendMessage(scene.message(ADA, step(Step::Accept).switching_to(SPRING)));
    assert_eq!(code(scene.run(later.clone())), "no_proposal");
    scene.say(NORA, step(propose(SPRING, 100))).unwrap();
    assert_eq!(code(scene.run(later)), "ok");
}

#[test]
fn messages_are_numbered_from_one_without_holes() {
    let mut scene = Scene::with_room();
    assert_eq!(scene.room().last_number, number(1));
    assert_eq!(scene.say(NORA, text("2")).unwrap().number, number(2));
    scene.say(ADA, step(Step::Accept)).unwrap_err();
    assert_eq!(scene.say(ADA, text("3")).unwrap().number, number(3));
    assert_eq!(scene.room().last_number, number(3));
}

#[test]
fn time_never_runs_backwards_in_a_room() {
    let mut scene = Scene::with_room();
    let at = [2_000, 1_500, 500, 2_001].map(|clock| {
        scene.clock = clock;
        scene.say(ADA, text("hi")).unwrap().at.micros()
    });
    assert_eq!(at, [2_000, 2_000, 2_000, 2_001]);
}

#[test]
fn a_message_moves_its_senders_view_without_telling() {
    let mut scene = Scene::with_room();
    let send = scene.message(NORA, text("hi"));
    let (_, events) = scene.run(Command::SendMessage(send)).unwrap();
    let moved = Event::Seen { room_id: ROOM, user_id: NORA, seen_till: number(2) };
    assert!(events.contains(&moved) && !moved.is_logged());
    assert_eq!(scene.world.seen[&(ROOM, NORA)], number(2));
    assert_eq!(scene.world.seen[&(ROOM, ADA)], number(1));
}

#[test]
fn one_message_carries_everything_at_once() {
    let mut scene = Scene::with_room();
    let file = uploads::finished(&mut scene, NORA);
    let draft = Draft { content: text("Deal?").content, ..step(propose(SPRING, 100)) }.holding(file);
    let send = scene.message(NORA, draft);
    let (_, events) = scene.run(Command::SendMessage(send)).unwrap();
    let message = sent(&events);
    assert_eq!(message.step, Some(RecordedStep::ProposedByCompany { campaign_id: SPRING, payout: payout(100) }));
    assert_eq!(message.attachment.unwrap().room_id, Some(ROOM));
    assert_eq!((message.selected_campaign_id, message.contract_version), (Some(SPRING), version(1)));
    assert_eq!(scene.contract(SPRING).unwrap().changed_in, message.number);
    assert_eq!(events.iter().filter(|event| event.is_logged()).count(), 1);
}
