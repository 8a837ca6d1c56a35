//! Request bodies. Every value is checked while it is parsed, and an unknown field is an error: a misspelled guard
//! must never be swallowed.

use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use serde::{Deserialize, Deserializer, Serialize};
use utoipa::ToSchema;

use super::{object, union};
use crate::domain::{
    AttachmentId, CampaignId, Change, CompanyId, Content, Direction, DirectoryOperation, FileName, Guards, LogoUrl,
    MediaType, Name, Number, Payout, Step, UserId, Version,
};

/// A message to send.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"content": "Shall we say 1,250?"}))]
pub struct MessageInput {
    /// The text; may be empty only beside an attachment, a contract change or a campaign change.
    pub content: Content,
    /// A change of the contract, all-or-nothing with the message.
    #[serde(default, deserialize_with = "union::optional", skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub contract_change: Option<ContractChangeInput>,
    /// A file in base64.
    #[serde(default, deserialize_with = "object::optional", skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub attachment: Option<AttachmentInput>,
    /// A file uploaded before with `PUT /v1/attachments/{attachment_id}`; not beside `attachment`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub attachment_id: Option<AttachmentId>,
    /// Selects the campaign that contract changes in this room act on, from this message on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub change_selected_campaign_to: Option<CampaignId>,
    /// May be sent by `POST /v1/rooms/{room_id}/messages`, and must then be the caller.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub from_user_id: Option<UserId>,
}

/// A file in a request body.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"name": "brief.txt", "content": "aGVsbG8=", "content_type": "text/plain"}))]
pub struct AttachmentInput {
    /// The file's name: one path segment of at most 255 bytes.
    pub name: FileName,
    /// The bytes in base64, standard or URL-safe, with or without padding; at most 8 MiB decoded.
    #[schema(value_type = String, format = Byte, content_encoding = "base64")]
    pub content: Base64,
    /// The media type, "" if not known; a hint, since the server looks at the bytes.
    pub content_type: MediaType,
}

/// A change of the contract, with the guards that must hold for it.
///
/// `expected_version` and `expected_payout` say what the sender has seen; if something else is in force the whole
/// message is refused with 409 `terms_changed`.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum ContractChangeInput {
    /// The company proposes terms for a campaign, and selects it.
    ProposedByCompany {
        /// The campaign; open, and of the room's company.
        campaign_id: CampaignId,
        /// The payout in cents.
        payout: Payout,
        /// The version that is revised; 0 for none yet.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[schema(nullable = false)]
        expected_version: Option<Version>,
    },
    /// The creator accepts the proposal.
    AcceptedByCreator {
        /// The version that is accepted.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[schema(nullable = false)]
        expected_version: Option<Version>,
        /// The payout that is accepted, in cents.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[schema(nullable = false)]
        expected_payout: Option<Payout>,
    },
    /// The company takes its proposal back.
    WithdrawnByCompany {
        /// The version that is withdrawn.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[schema(nullable = false)]
        expected_version: Option<Version>,
    },
    /// The creator declines a proposal, or steps back from an accepted contract.
    CancelledByCreator {
        /// The version that is cancelled.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[schema(nullable = false)]
        expected_version: Option<Version>,
    },
    /// The creator says that the work is done.
    FinishedByCreator {
        /// The version that is finished.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[schema(nullable = false)]
        expected_version: Option<Version>,
    },
    /// The company agrees that the work is done.
    ApprovedByCompany {
        /// The version that is approved.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[schema(nullable = false)]
        expected_version: Option<Version>,
    },
}

impl From<&ContractChangeInput> for Change {
    fn from(input: &ContractChangeInput) -> Self {
        let guarded =
            |step, version: &Option<Version>| Self { step, guards: Guards { version: *version, payout: None } };
        match input {
            ContractChangeInput::ProposedByCompany { campaign_id, payout, expected_version } => {
                guarded(Step::Propose { campaign_id: *campaign_id, payout: *payout }, expected_version)
            }
            ContractChangeInput::AcceptedByCreator { expected_version, expected_payout } => {
                Self { step: Step::Accept, guards: Guards { version: *expected_version, payout: *expected_payout } }
            }
            ContractChangeInput::WithdrawnByCompany { expected_version } => guarded(Step::Withdraw, expected_version),
            ContractChangeInput::CancelledByCreator { expected_version } => guarded(Step::Cancel, expected_version),
            ContractChangeInput::FinishedByCreator { expected_version } => guarded(Step::Finish, expected_version),
            ContractChangeInput::ApprovedByCompany { expected_version } => guarded(Step::Approve, expected_version),
        }
    }
}

/// A message for the room of a company and a creator, which is opened if there is none.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({
    "message": {"content": "Hi! Are you looking for creators?"},
    "direction": {"type": "user_to_company", "company_id": "0199c0de-0000-7000-8000-00000000c001"},
}))]
pub struct CreateChatRoom {
    /// The message.
    #[serde(deserialize_with = "object::one")]
    pub message: MessageInput,
    /// Who writes to whom.
    #[serde(deserialize_with = "union::one")]
    pub direction: CreateChatRoomDirection,
}

/// Who writes to whom.
#[derive(Debug, Clone, Copy, Serialize, Deserialize, ToSchema)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum CreateChatRoomDirection {
    /// The caller, a creator, writes to a company.
    UserToCompany {
        /// The company.
        company_id: CompanyId,
    },
    /// The caller, an employee of the company, writes to a creator.
    CompanyToUser {
        /// The caller's company.
        company_id: CompanyId,
        /// The creator.
        to_user_id: UserId,
    },
}

impl From<CreateChatRoomDirection> for Direction {
    fn from(input: CreateChatRoomDirection) -> Self {
        match input {
            CreateChatRoomDirection::UserToCompany { company_id } => Self::UserToCompany { company_id },
            CreateChatRoomDirection::CompanyToUser { company_id, to_user_id } => {
                Self::CompanyToUser { company_id, to_user_id }
            }
        }
    }
}

/// Whether the page behind an event stream is in view.
#[derive(Debug, Clone, Copy, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CurrentlyViewingUpdate {
    /// `true`: online; `false`: away, unless another page is in view.
    pub viewing: bool,
}

/// Whether the caller is typing in a room.
#[derive(Debug, Clone, Copy, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CurrentlyTypingUpdate {
    /// `true` holds for 7 seconds: send it every 3 while typing.
    pub typing: bool,
}

/// How far the caller has seen a room.
#[derive(Debug, Clone, Copy, Serialize, Deserialize, ToSchema)]
#[schema(as = UpdateLastSeen)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"seen_till": 12}))]
pub struct LastSeenInput {
    /// The number of the last message seen; beyond the last one counts as the last one.
    pub seen_till: Number,
}

/// A person's directory entry.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"given_name": "Ada", "family_name": "Okafor", "logo_url": "https://example.com/ada.png"}))]
pub struct PutUser {
    /// First name, 1 to 200 characters.
    pub given_name: Name,
    /// Last name, 1 to 200 characters.
    pub family_name: Name,
    /// Picture: "" or an absolute http(s) URL.
    pub logo_url: LogoUrl,
    /// Where they work; absent for a creator.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub company_id: Option<CompanyId>,
}

/// A company's directory entry.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"name": "Northwind", "logo_url": ""}))]
pub struct PutCompany {
    /// Its name, 1 to 200 characters.
    pub name: Name,
    /// Its picture: "" or an absolute http(s) URL.
    pub logo_url: LogoUrl,
}

/// A campaign's directory entry.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({
    "company_id": "0199c0de-0000-7000-8000-00000000c001", "name": "Spring launch", "open": true,
}))]
pub struct PutCampaign {
    /// Whose campaign it is; never changes.
    pub company_id: CompanyId,
    /// Its name, 1 to 200 characters.
    pub name: Name,
    /// Whether it takes new proposals.
    pub open: bool,
}

/// Changes of the directory, applied in order, all or nothing.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DirectoryBatch {
    /// At most 1,000.
    #[serde(deserialize_with = "union::list")]
    #[schema(max_items = 1000)]
    pub operations: Vec<DirectoryChange>,
}

/// One change of the directory.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum DirectoryChange {
    /// Create or replace a person.
    PutUser {
        /// The person's id.
        id: UserId,
        /// First name, 1 to 200 characters.
        given_name: Name,
        /// Last name, 1 to 200 characters.
        family_name: Name,
        /// Picture: "" or an absolute http(s) URL.
        logo_url: LogoUrl,
        /// Where they work; absent for a creator.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[schema(nullable = false)]
        company_id: Option<CompanyId>,
    },
    /// Deactivate a person.
    DeleteUser {
        /// The person's id.
        id: UserId,
        /// Replace the name by "Deleted user".
        #[serde(default, deserialize_with = "null_is_absent")]
        #[schema(required = false)]
        erase: bool,
    },
    /// Create or replace a company.
    PutCompany {
        /// The company's id.
        id: CompanyId,
        /// Its name, 1 to 200 characters.
        name: Name,
        /// Its picture: "" or an absolute http(s) URL.
        logo_url: LogoUrl,
    },
    /// Create or replace a campaign.
    PutCampaign {
        /// The campaign's id.
        id: CampaignId,
        /// Whose campaign it is; never changes.
        company_id: CompanyId,
        /// Its name, 1 to 200 characters.
        name: Name,
        /// Whether it takes new proposals.
        open: bool,
    },
}

impl From<DirectoryChange> for DirectoryOperation {
    fn from(change: DirectoryChange) -> Self {
        match change {
            DirectoryChange::PutUser { id, given_name, family_name, logo_url, company_id } => {
                Self::PutUser { id, given_name, family_name, logo_url, company_id }
            }
            DirectoryChange::DeleteUser { id, erase } => Self::DeleteUser { id, erase },
            DirectoryChange::PutCompany { id, name, logo_url } => Self::PutCompany { id, name, logo_url },
            DirectoryChange::PutCampaign { id, company_id, name, open } => {
                Self::PutCampaign { id, company_id, name, open }
            }
        }
    }
}

/// For fields with a default: null stands for it.
fn null_is_absent<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(deserializer: D) -> Result<T, D::Error> {
    Option::deserialize(deserializer).map(Option::unwrap_or_default)
}

/// Bytes that travel as base64 (RFC 4648 §4 or §5), with or without padding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Base64(pub Vec<u8>);

const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

impl Serialize for Base64 {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&LENIENT.encode(&self.0))
    }
}

impl<'de> Deserialize<'de> for Base64 {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut text = String::deserialize(deserializer)?;
        if text.contains(['-', '_']) {
            text = text.replace('-', "+").replace('_', "/");
        }
        LENIENT.decode(text).map(Self).map_err(|_| serde::de::Error::custom("must be base64"))
    }
}

#[cfg(test)]
mod tests {
    use base64::prelude::{BASE64_STANDARD as STANDARD_PADDED, BASE64_STANDARD_NO_PAD as STANDARD_NO_PAD};
    use base64::prelude::{BASE64_URL_SAFE as URL_SAFE, BASE64_URL_SAFE_NO_PAD as URL_SAFE_NO_PAD};
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::wire::Object;

    proptest! {
        #[test]
        fn every_spelling_of_base64_is_read(bytes in any::<Vec<u8>>()) {
            for engine in [&STANDARD_PADDED, &STANDARD_NO_PAD, &URL_SAFE, &URL_SAFE_NO_PAD] {
                let parsed: Base64 = serde_json::from_value(engine.encode(&bytes).into()).unwrap();
                prop_assert_eq!(&parsed.0, &bytes);
            }
        }

        #[test]
        fn no_text_in_base64_makes_a_panic(text in any::<String>(), near in "[A-Za-z0-9+/_=-]{0,40}") {
            for text in [text, near] {
                let _ = serde_json::from_value::<Base64>(text.into());
            }
        }
    }

    #[test]
    fn base64_comes_in_four_spellings() {
        for text in ["+/8=", "+/8", "-_8=", "-_8"] {
            let parsed: Base64 = serde_json::from_value(text.into()).unwrap();
            assert_eq!(parsed.0, [0xfb, 0xff], "{text}");
        }
        for text in ["a", "é", "a b=", "===="] {
            assert!(serde_json::from_value::<Base64>(text.into()).is_err(), "{text}");
        }
    }

    #[test]
    fn a_misspelled_guard_is_refused_in_every_variant() {
        for kind in [
            "accepted_by_creator",
            "withdrawn_by_company",
            "cancelled_by_creator",
            "finished_by_creator",
            "approved_by_company",
        ] {
            let good = serde_json::json!({"type": kind, "expected_version": 1});
            assert!(serde_json::from_value::<ContractChangeInput>(good).is_ok(), "{kind}");
            let bad = serde_json::json!({"type": kind, "expected_versoin": 1});
            assert!(serde_json::from_value::<ContractChangeInput>(bad).is_err(), "{kind}");
        }
    }

    fn reads<T: serde::de::DeserializeOwned>(json: &serde_json::Value) -> bool {
        serde_json::from_str::<T>(&json.to_string()).is_ok()
    }

    #[test]
    fn null_means_absent() {
        let change = json!({"type": "accepted_by_creator", "expected_version": null, "expected_payout": null});
        assert!(reads::<ContractChangeInput>(&change));
        assert!(reads::<MessageInput>(&json!({
            "content": "hi", "contract_change": null, "attachment": null, "attachment_id": null,
            "change_selected_campaign_to": null, "from_user_id": null,
        })));
        let id = "00000000-0000-0000-0000-000000000001";
        assert!(reads::<DirectoryChange>(&json!({"type": "delete_user", "id": id, "erase": null})));
        assert!(!reads::<MessageInput>(&json!({"content": null})));
    }

    #[test]
    fn an_object_is_not_the_list_of_its_fields() {
        let id = "00000000-0000-0000-0000-000000000001";
        let message = json!({"content": "hi"});
        let direction = json!({"type": "user_to_company", "company_id": id});
        let file = json!({"name": "a", "content": "", "content_type": "b"});
        assert!(reads::<CreateChatRoom>(&json!({"message": message, "direction": direction})));
        assert!(reads::<MessageInput>(&json!({"content": "hi", "attachment": file})));
        for listed in [
            json!({"message": ["hi"], "direction": direction}),
            json!({"message": message, "direction": ["user_to_company", id]}),
        ] {
            assert!(!reads::<CreateChatRoom>(&listed), "{listed}");
        }
        for listed in [
            json!({"content": "hi", "attachment": ["a", "", "b"]}),
            json!({"content": "hi", "contract_change": ["accepted_by_creator", 1]}),
        ] {
            assert!(!reads::<MessageInput>(&listed), "{listed}");
        }
        assert!(!reads::<DirectoryBatch>(&json!({"operations": [["delete_user", id]]})));
        assert!(!reads::<Object<MessageInput>>(&json!(["hi"])));
        assert!(reads::<Object<MessageInput>>(&json!({"content": "hi"})));
    }
}
