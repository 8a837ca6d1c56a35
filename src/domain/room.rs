//! Rooms, messages and files as values.

use serde::{Deserialize, Serialize};

use super::{
    AttachmentId, CampaignId, CompanyId, Content, Contract, MessageId, Number, ObjectId, Payout, RoomId, Side, Step,
    Timestamp, User, UserId, Version,
};

/// The one place of one (company, creator) pair, as it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Room {
    /// Its id.
    pub id: RoomId,
    /// One side.
    pub company_id: CompanyId,
    /// The other side.
    pub creator_id: UserId,
    /// The campaign that contract changes act on.
    pub selected_campaign_id: Option<CampaignId>,
    /// The number of the latest message; messages are numbered 1 to this without holes.
    pub last_number: Number,
    /// When the latest message was sent; time never runs backwards in a room.
    pub last_at: Timestamp,
    /// The log position of the latest message: the order of the list of rooms.
    pub last_position: i64,
}

impl Room {
    /// The side `user` is on here, if they are a member: the creator, or a current employee of the company.
    #[must_use]
    pub fn side_of(&self, user: &User) -> Option<Side> {
        if !user.active {
            None
        } else if user.id == self.creator_id {
            Some(Side::Creator)
        } else if user.company_id == Some(self.company_id) {
            Some(Side::Company)
        } else {
            None
        }
    }
}

/// A contract change as it is remembered and shown: without guards.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum RecordedStep {
    /// The company named terms.
    ProposedByCompany { campaign_id: CampaignId, payout: Payout },
    /// The creator agreed.
    AcceptedByCreator {},
    /// The company took its proposal back.
    WithdrawnByCompany {},
    /// The creator declined or stepped back.
    CancelledByCreator {},
    /// The creator said the work was done.
    FinishedByCreator {},
    /// The company agreed.
    ApprovedByCompany {},
}

impl From<Step> for RecordedStep {
    fn from(step: Step) -> Self {
        match step {
            Step::Propose { campaign_id, payout } => Self::ProposedByCompany { campaign_id, payout },
            Step::Accept => Self::AcceptedByCreator {},
            Step::Withdraw => Self::WithdrawnByCompany {},
            Step::Cancel => Self::CancelledByCreator {},
            Step::Finish => Self::FinishedByCreator {},
            Step::Approve => Self::ApprovedByCompany {},
        }
    }
}

/// A file whose bytes are in the object store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredFile {
    /// Its public id.
    pub id: AttachmentId,
    /// Where its bytes are.
    pub object: ObjectId,
    /// Who sent it.
    pub owner: UserId,
    /// Its name.
    pub name: String,
    /// Its media type, sniffed where the bytes tell.
    pub content_type: String,
    /// Bytes.
    pub size: i64,
    /// SHA-256 of the bytes.
    pub sha256: [u8; 32],
    /// The room that may read it; none until a message holds it.
    pub room_id: Option<RoomId>,
}

/// A message as it was committed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Where.
    pub room_id: RoomId,
    /// Its place in the room.
    pub number: Number,
    /// Its id, and the idempotency key it came with.
    pub id: MessageId,
    /// Who wrote it.
    pub from_user: UserId,
    /// For which side.
    pub side: Side,
    /// What it says.
    pub content: String,
    /// What it did to the contract.
    pub step: Option<RecordedStep>,
    /// The file it holds.
    pub attachment: Option<StoredFile>,
    /// The campaign switch it asked for.
    pub switched_to: Option<CampaignId>,
    /// When it was committed.
    pub at: Timestamp,
    /// The selected campaign after it.
    pub selected_campaign_id: Option<CampaignId>,
    /// The version of the selected campaign's contract after it; 0 where there is none.
    pub contract_version: Version,
    /// What identifies the request that made it.
    pub fingerprint: Fingerprint,
}

/// SHA-256 over route, parsed body and attachments: what "the same request" means for an idempotency key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Fingerprint(#[serde(with = "hex::serde")] pub [u8; 32]);

/// A message as it is asked for: values valid, rules not yet asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Draft {
    /// What it says.
    pub content: Content,
    /// What it does to the contract.
    pub change: Option<super::Change>,
    /// The file it holds.
    pub file: Option<DraftFile>,
    /// The campaign to select first.
    pub switch_to: Option<CampaignId>,
}

/// A file in a draft.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DraftFile {
    /// Uploaded before, by `PUT /v1/attachments/{attachment_id}`.
    Uploaded(AttachmentId),
    /// Came with this request; its bytes are stored already.
    Fresh(StoredFile),
}

/// A contract together with where it belongs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoomContract {
    /// The room.
    pub room_id: RoomId,
    /// The contract.
    pub contract: Contract,
}
