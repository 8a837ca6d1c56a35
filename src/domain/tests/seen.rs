//! How far somebody has seen.

use super::*;

/// Four messages; Nora wrote the second.
fn scene() -> Scene {
    let mut scene = Scene::with_room();
    for caller in [NORA, ADA, ADA] {
        scene.say(caller, text("hi")).unwrap();
    }
    scene
}

/// (asked) → (in force, still new, whether others are told), one after the other.
#[test]
fn a_view_moves_forward_only_and_not_beyond_the_last_message() {
    let mut scene = scene();
    let cases = [
        (0, 2, 2, false),
        (1, 2, 2, false),
        (2, 2, 2, false),
        (3, 3, 1, true),
        (2, 3, 1, false),
        (99, 4, 0, true),
        (99, 4, 0, false),
        (4, 4, 0, false),
    ];
    for (asked, seen_till, new_messages, told) in cases {
        let (receipt, events) = scene.see(NORA, asked).unwrap();
        assert_eq!(receipt, Receipt::Seen { seen_till: number(seen_till), new_messages }, "{asked}");
        let event = Event::Viewed { room: scene.room().clone(), user_id: NORA, seen_till: number(seen_till) };
        assert_eq!(events, if told { vec![event] } else { vec![] }, "{asked}");
    }
}

#[test]
fn who_never_looked_has_seen_nothing() {
    let (receipt, _) = scene().see(NILS, 0).unwrap();
    assert_eq!(receipt, Receipt::Seen { seen_till: Number::ZERO, new_messages: 4 });
}

#[test]
fn views_are_each_persons_own() {
    let mut scene = scene();
    scene.see(NORA, 4).unwrap();
    assert_eq!(code(scene.see(BEN, 1)), "not_found");
    assert_eq!(code(scene.see(NOBODY, 1)), "unknown_user");
    assert!(!scene.world.seen.contains_key(&(ROOM, NILS)));
}

#[test]
fn who_joins_starts_with_everything_seen() {
    let mut scene = scene();
    for id in [CAI, NOBODY] {
        scene.direct(put_user(id, Some(NORTH))).unwrap();
        let (receipt, events) = scene.see(id, 1).unwrap();
        assert_eq!((receipt, events), (Receipt::Seen { seen_till: number(4), new_messages: 0 }, vec![]));
    }
}

#[test]
fn who_comes_back_has_missed_nothing_but_who_only_slept_has() {
    let mut scene = scene();
    scene.direct(put_user(NORA, None)).unwrap();
    scene.deactivate(NILS);
    scene.direct(put_user(NORA, Some(NORTH))).unwrap();
    scene.direct(put_user(NILS, Some(NORTH))).unwrap();
    let new_messages = [NORA, NILS].map(|id| match scene.see(id, 0).unwrap().0 {
        Receipt::Seen { new_messages, .. } => new_messages,
        other => panic!("{other:?}"),
    });
    assert_eq!(new_messages, [0, 4]);
}
