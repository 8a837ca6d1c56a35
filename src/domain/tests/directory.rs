//! The directory: users, companies and campaigns.

use super::*;
use crate::domain::directory::ERASED_NAME;

/// What a single operation answered and did.
fn put(scene: &mut Scene, operation: DirectoryOperation) -> (bool, Event) {
    let (receipt, mut events) = scene.direct(operation).unwrap();
    let Receipt::Directory { created } = receipt else { panic!("{receipt:?}") };
    assert_eq!(events.len(), 1);
    (created, events.remove(0))
}

#[test]
fn put_says_whether_the_entry_is_new() {
    let mut scene = Scene::new();
    let operations =
        [put_company(NO_COMPANY), put_user(NOBODY, Some(NO_COMPANY)), put_campaign(NO_CAMPAIGN, NO_COMPANY, true)];
    for created in [true, false] {
        for operation in operations.clone() {
            assert_eq!(put(&mut scene, operation).0, created);
        }
    }
}

/// (company before, company after) → (joined, moved).
#[test]
fn a_change_of_company_is_told_apart_from_a_change_of_name() {
    let cases = [
        (None, None, None, false),
        (None, Some(NORTH), Some(NORTH), true),
        (Some(NORTH), Some(NORTH), None, false),
        (Some(NORTH), Some(SOUTH), Some(SOUTH), true),
        (Some(NORTH), None, None, true),
    ];
    for (before, after, expected_joined, expected_moved) in cases {
        let mut scene = Scene::new();
        scene.world.users.insert(CAI, user(CAI, before));
        let (_, event) = put(&mut scene, put_user(CAI, after));
        let Event::UserPut { user, joined, moved } = event else { panic!("{event:?}") };
        assert_eq!((joined, moved), (expected_joined, expected_moved), "{before:?} -> {after:?}");
        assert_eq!(user.company_id, after);
    }
}

#[test]
fn a_new_person_joins_and_moves() {
    let mut scene = Scene::new();
    let (_, event) = put(&mut scene, put_user(NOBODY, Some(NORTH)));
    assert!(matches!(event, Event::UserPut { joined: Some(NORTH), moved: true, .. }), "{event:?}");
}

#[test]
fn deleting_deactivates_and_keeps_the_entry() {
    let mut scene = Scene::new();
    for moved in [true, false] {
        let (created, event) = put(&mut scene, DirectoryOperation::DeleteUser { id: NORA, erase: false });
        let user = User { active: false, ..user(NORA, Some(NORTH)) };
        assert_eq!((created, event), (false, Event::UserPut { user, joined: None, moved }));
    }
    let nobody = DirectoryOperation::DeleteUser { id: NOBODY, erase: false };
    assert_eq!(scene.direct(nobody), Err(Refusal::NotFound));
}

#[test]
fn erasing_replaces_name_and_picture_also_later() {
    for deleted_before in [false, true] {
        let mut scene = Scene::new();
        if deleted_before {
            scene.deactivate(NORA);
        }
        put(&mut scene, DirectoryOperation::DeleteUser { id: NORA, erase: true });
        let user = &scene.world.users[&NORA];
        assert_eq!((user.given_name.as_str(), user.family_name.as_str()), ERASED_NAME);
        assert_eq!((user.logo_url.as_str(), user.active), ("", false));
    }
}

#[test]
fn put_brings_a_deleted_person_back() {
    let mut scene = Scene::new();
    scene.deactivate(NORA);
    let (created, event) = put(&mut scene, put_user(NORA, Some(NORTH)));
    assert!(!created);
    assert!(matches!(event, Event::UserPut { joined: None, moved: true, .. }), "{event:?}");
    assert!(scene.world.users[&NORA].active);
}

#[test]
fn unknown_companies_are_refused() {
    let mut scene = Scene::new();
    let unknown = Refusal::Unknown { what: "unknown_company", pointer: "/company_id" };
    for operation in [put_user(CAI, Some(NO_COMPANY)), put_campaign(NO_CAMPAIGN, NO_COMPANY, true)] {
        assert_eq!(scene.direct(operation), Err(unknown.clone()));
    }
}

#[test]
fn a_rooms_creator_never_joins_that_rooms_company() {
    let mut scene = Scene::with_room();
    assert_eq!(scene.direct(put_user(ADA, Some(NORTH))), Err(Refusal::IsCounterparty));
    assert_eq!(code(scene.direct(put_user(ADA, Some(SOUTH)))), "ok");
    assert_eq!(scene.direct(put_user(ADA, Some(NORTH))), Err(Refusal::IsCounterparty));
    assert_eq!(code(scene.direct(put_user(BEN, Some(NORTH)))), "ok");
}

#[test]
fn a_campaign_opens_and_closes_but_never_moves() {
    let mut scene = Scene::new();
    assert_eq!(scene.direct(put_campaign(SPRING, SOUTH, true)), Err(Refusal::CompanyFixed));
    for open in [false, true] {
        put(&mut scene, put_campaign(SPRING, NORTH, open));
        assert_eq!(scene.world.campaigns[&SPRING].open, open);
    }
}

#[test]
fn a_batch_builds_on_itself_in_order() {
    let mut scene = Scene::new();
    let batch = vec![
        put_company(NO_COMPANY),
        put_user(NOBODY, Some(NO_COMPANY)),
        put_campaign(NO_CAMPAIGN, NO_COMPANY, true),
        DirectoryOperation::DeleteUser { id: NOBODY, erase: false },
    ];
    let (_, events) = scene.run(Command::Directory(batch)).unwrap();
    assert_eq!(events.len(), 4);
    assert!(events.iter().all(Event::is_logged));
    assert!(!scene.world.users[&NOBODY].active);
}

#[test]
fn a_batch_is_refused_whole_at_the_first_refusal() {
    let mut scene = Scene::new();
    let batch = vec![put_user(CAI, None), put_campaign(SPRING, SOUTH, true), put_user(BEN, Some(NO_COMPANY))];
    let refusal = Refusal::Operation { index: 1, refusal: Box::new(Refusal::CompanyFixed) };
    assert_eq!(scene.run(Command::Directory(batch)), Err(refusal));
    assert_eq!(scene.world.users[&CAI], user(CAI, None));
}

/// What the directory says holds for the very next command of the writer's batch.
#[test]
fn employees_follow_the_directory() {
    let mut scene = Scene::new();
    scene.world.employees.insert(NORTH, vec![user(NORA, Some(NORTH)), user(NILS, Some(NORTH))]);
    scene.direct(put_user(NORA, Some(SOUTH))).unwrap();
    scene.direct(put_user(CAI, Some(NORTH))).unwrap();
    let ids = |scene: &Scene| scene.world.employees[&NORTH].iter().map(|user| user.id).collect::<Vec<_>>();
    assert_eq!(ids(&scene), [CAI, NILS]);
    scene.deactivate(NILS);
    assert_eq!(ids(&scene), [CAI]);
}
