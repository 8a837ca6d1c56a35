//! Files: bytes before they are there, files before a message holds them, and after.

use super::*;

fn file(id: AttachmentId, owner: UserId) -> StoredFile {
    StoredFile {
        id,
        object: ObjectId(Uuid::from_u128(id.0.as_u128() + 1)),
        owner,
        name: "brief.pdf".to_owned(),
        content_type: "application/pdf".to_owned(),
        size: 9,
        sha256: [5; 32],
        room_id: None,
    }
}

/// A file of `owner`'s that no message holds.
pub fn finished(scene: &mut Scene, owner: UserId) -> AttachmentId {
    let id = AttachmentId(scene.fresh());
    scene.run(Command::Upload(Upload::Finish { file: file(id, owner) })).unwrap();
    id
}

/// A file of `owner`'s in a message of [`ROOM`].
pub fn attached(scene: &mut Scene, owner: UserId) -> AttachmentId {
    let id = finished(scene, owner);
    scene.say(owner, text("").holding(id)).unwrap();
    id
}

fn begin(scene: &mut Scene, owner: UserId, reserved: i64) -> Result<Decision, Refusal> {
    let object = ObjectId(scene.fresh());
    scene.run(Command::Upload(Upload::Begin { owner, object, reserved }))
}

#[test]
fn unattached_bytes_are_limited_for_each_person() {
    let mut scene = Scene::new();
    scene.world.unattached.insert(ADA, UNATTACHED_BYTES - 10);
    assert_eq!(code(begin(&mut scene, ADA, 11)), "unattached_quota");
    assert_eq!(code(begin(&mut scene, ADA, 4)), "ok");
    assert_eq!(code(begin(&mut scene, ADA, 6)), "ok");
    assert_eq!(code(begin(&mut scene, ADA, 1)), "unattached_quota");
    assert_eq!(code(begin(&mut scene, BEN, UNATTACHED_BYTES)), "ok");
}

#[test]
fn only_active_people_upload() {
    let mut scene = Scene::new();
    scene.deactivate(BEN);
    for (owner, expected) in [(NOBODY, "unknown_user"), (BEN, "deactivated")] {
        assert_eq!(code(begin(&mut scene, owner, 1)), expected);
        let finish = Upload::Finish { file: file(AttachmentId(Uuid::nil()), owner) };
        assert_eq!(code(scene.run(Command::Upload(finish))), expected);
    }
}

#[test]
fn an_upload_can_be_repeated_but_not_replaced() {
    let mut scene = Scene::with_room();
    let id = finished(&mut scene, ADA);
    let cases = [
        ("same", file(id, ADA), "ok"),
        ("other object, as a retry has", StoredFile { object: ObjectId(Uuid::nil()), ..file(id, ADA) }, "ok"),
        ("other bytes", StoredFile { sha256: [6; 32], ..file(id, ADA) }, "attachment_conflict"),
        ("other name", StoredFile { name: "x".to_owned(), ..file(id, ADA) }, "attachment_conflict"),
        ("other owner", file(id, NORA), "attachment_conflict"),
    ];
    for held in [false, true] {
        for (what, file, expected) in &cases {
            let answer = scene.run(Command::Upload(Upload::Finish { file: file.clone() }));
            if let Ok(decision) = &answer {
                assert_eq!(decision, &(Receipt::Uploaded { created: false }, vec![]), "{what}, held: {held}");
            }
            assert_eq!(code(answer), *expected, "{what}, held: {held}");
        }
        if !held {
            scene.say(ADA, text("").holding(id)).unwrap();
        }
    }
}

#[test]
fn a_file_goes_into_one_message_by_its_uploader() {
    let mut scene = Scene::with_room();
    let id = finished(&mut scene, ADA);
    let unknown = Refusal::Unknown { what: "unknown_attachment", pointer: "/attachment_id" };
    assert_eq!(scene.say(NORA, text("").holding(id)), Err(unknown));
    let message = scene.say(ADA, text("").holding(id)).unwrap();
    assert_eq!(message.attachment.unwrap().id, id);
    assert_eq!(scene.world.files[&id].room_id, Some(ROOM));
    assert_eq!(scene.say(ADA, text("").holding(id)), Err(Refusal::AttachmentUsed));
}

#[test]
fn a_file_that_came_with_its_message_is_stored_with_it() {
    let mut scene = Scene::with_room();
    let fresh = file(AttachmentId(Uuid::from_u128(77)), ADA);
    let in_room = StoredFile { room_id: Some(ROOM), ..fresh.clone() };
    let send = scene.message(ADA, Draft { file: Some(DraftFile::Fresh(fresh)), ..text("") });
    let (_, events) = scene.run(Command::SendMessage(send)).unwrap();
    assert_eq!(events[0], Event::FileStored(in_room.clone()));
    assert_eq!(sent(&events).attachment, Some(in_room));
}

#[test]
fn a_refused_message_leaves_its_file_free() {
    let mut scene = Scene::with_room();
    let id = finished(&mut scene, ADA);
    scene.say(ADA, step(Step::Accept).holding(id)).unwrap_err();
    assert_eq!(code(scene.say(ADA, text("").holding(id))), "ok");
}
