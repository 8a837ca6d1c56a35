//! Opening the room of a pair, or writing into the one there is.

use super::*;

/// (caller, direction) → answer, when no room exists yet.
#[test]
fn a_creator_writes_to_a_company_and_an_employee_to_a_creator() {
    let cases = [
        (ADA, to_company(NORTH), "ok"),
        (NORA, to_user(NORTH, ADA), "ok"),
        (NOBODY, to_company(NORTH), "unknown_user"),
        (ADA, to_company(NO_COMPANY), "unknown_company"),
        (NORA, to_company(SOUTH), "same_side"),
        (NORA, to_company(NORTH), "same_side"),
        (NORA, to_user(SOUTH, ADA), "not_your_company"),
        (NORA, to_user(NO_COMPANY, ADA), "not_your_company"),
        (ADA, to_user(NORTH, BEN), "not_your_company"),
        (NORA, to_user(NORTH, NOBODY), "unknown_user"),
        (NORA, to_user(NORTH, SAM), "same_side"),
        (NORA, to_user(NORTH, NILS), "same_side"),
        (NORA, to_user(NORTH, NORA), "same_side"),
    ];
    for (caller, direction, expected) in cases {
        assert_eq!(code(Scene::new().open(caller, direction)), expected, "{caller} {direction:?}");
    }
}

#[test]
fn the_deactivated_neither_write_nor_are_written_to() {
    let mut scene = Scene::new();
    scene.deactivate(ADA);
    assert_eq!(code(scene.open(ADA, to_company(NORTH))), "deactivated");
    assert_eq!(code(scene.open(NORA, to_user(NORTH, ADA))), "unknown_user");
}

#[test]
fn a_new_room_holds_message_one() {
    let mut scene = Scene::new();
    let create = scene.create(ADA, to_company(NORTH));
    let (receipt, events) = scene.run(Command::CreateRoom(create.clone())).unwrap();
    let CreateRoom { room_id, key, .. } = create;
    assert_eq!(receipt, Receipt::Sent { room_id, message_id: key, number: number(1), repeated: false });
    let Event::RoomCreated { room } = &events[0] else { panic!("{events:?}") };
    assert_eq!((room.company_id, room.creator_id), (NORTH, ADA));
    assert!(matches!(&events[1], Event::MessageSent { first: true, message } if message.room_id == room_id));
}

#[test]
fn a_pair_has_one_room_from_both_directions() {
    let mut scene = Scene::new();
    let first = scene.open(ADA, to_company(NORTH)).unwrap();
    let cases = [(ADA, to_company(NORTH), Side::Creator), (NILS, to_user(NORTH, ADA), Side::Company)];
    for (expected, (caller, direction, side)) in (2..).zip(cases) {
        let create = scene.create(caller, direction);
        let (_, events) = scene.run(Command::CreateRoom(create)).unwrap();
        let message = sent(&events);
        assert_eq!((message.room_id, message.number, message.side), (first.room_id, number(expected), side));
        assert!(!events.iter().any(|event| matches!(event, Event::RoomCreated { .. })));
        assert!(events.iter().any(|event| matches!(event, Event::MessageSent { first: false, .. })));
    }
    assert_eq!(scene.world.rooms.len(), 1);
}

#[test]
fn other_pairs_have_other_rooms() {
    let mut scene = Scene::new();
    let pairs = [(ADA, to_company(NORTH)), (ADA, to_company(SOUTH)), (NORA, to_user(NORTH, BEN))];
    for (caller, direction) in pairs {
        assert_eq!(scene.open(caller, direction).unwrap().number, number(1));
    }
    assert_eq!(scene.world.rooms.len(), 3);
}

#[test]
fn a_repeat_creates_nothing() {
    let mut scene = Scene::new();
    let create = scene.create(ADA, to_company(NORTH));
    scene.run(Command::CreateRoom(create.clone())).unwrap();
    // The retry brings a room id of its own: the first one's is answered.
    let retry = CreateRoom { room_id: RoomId(scene.fresh()), ..create.clone() };
    let CreateRoom { room_id, key, .. } = create;
    let repeat = Receipt::Sent { room_id, message_id: key, number: number(1), repeated: true };
    assert_eq!(scene.run(Command::CreateRoom(retry.clone())), Ok((repeat, vec![])));
    let other = CreateRoom { fingerprint: fingerprint(9), ..retry };
    assert_eq!(scene.run(Command::CreateRoom(other)), Err(Refusal::KeyReused));
}

#[test]
fn a_refused_first_message_opens_no_room() {
    let mut scene = Scene::new();
    let create = scene.create(ADA, to_company(NORTH));
    for (change, expected) in [(Step::Accept, "no_selected_campaign"), (propose(SPRING, 1), "wrong_side")] {
        let create = CreateRoom { draft: step(change), ..create.clone() };
        assert_eq!(code(scene.run(Command::CreateRoom(create))), expected);
    }
    assert!(scene.world.rooms.is_empty() && scene.world.pairs.is_empty());
}

#[test]
fn a_former_creator_keeps_the_rooms_of_that_time_and_opens_no_others() {
    let mut scene = Scene::with_room();
    scene.direct(put_user(ADA, Some(SOUTH))).unwrap();
    assert_eq!(scene.say(ADA, text("still here")).unwrap().side, Side::Creator);
    assert_eq!(scene.open(ADA, to_company(NORTH)).unwrap().room_id, ROOM);
    assert_eq!(scene.open(NORA, to_user(NORTH, ADA)).unwrap().room_id, ROOM);
    assert_eq!(code(scene.open(ADA, to_company(SOUTH))), "same_side");
    assert_eq!(code(scene.open(SAM, to_user(SOUTH, ADA))), "same_side");
}

#[test]
fn a_former_creator_speaks_for_the_new_company_elsewhere() {
    let mut scene = Scene::with_room();
    scene.direct(put_user(ADA, Some(SOUTH))).unwrap();
    assert_eq!(scene.open(ADA, to_user(SOUTH, BEN)).unwrap().side, Side::Company);
}

#[test]
fn unknown_references_are_pointed_at_in_the_body_that_was_sent() {
    let mut scene = Scene::new();
    let drafts = [
        (text("").switching_to(NO_CAMPAIGN), "/message/change_selected_campaign_to"),
        (step(propose(NO_CAMPAIGN, 1)), "/message/contract_change/campaign_id"),
        (text("").holding(AttachmentId(Uuid::nil())), "/message/attachment_id"),
    ];
    for (draft, expected) in drafts {
        let create = CreateRoom { draft, ..scene.create(NORA, to_user(NORTH, ADA)) };
        let refusal = scene.run(Command::CreateRoom(create)).unwrap_err();
        assert!(matches!(refusal, Refusal::Unknown { pointer, .. } if pointer == expected), "{refusal:?}");
    }
}
