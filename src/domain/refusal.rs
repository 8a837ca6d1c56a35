//! Why a command was refused: a closed set, each with its stable code.

use super::Contract;

/// A refusal by the rules. Nothing was changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// The token is valid, but its `sub` is in no directory entry.
    UnknownUser,
    /// The user has been deactivated.
    Deactivated,
    /// Not there, or not the caller's: the two are told apart by nobody.
    NotFound,
    /// The idempotency key belongs to another request or another caller.
    KeyReused,
    /// `from_user_id` names somebody else.
    FromUserMismatch,
    /// The caller may not speak for that company.
    NotYourCompany,
    /// A creator cannot open a room with a creator, nor a company with an employee.
    SameSide,
    /// The other side makes this change.
    WrongSide,
    /// A value names something that is not in the directory; the JSON Pointer says which.
    Unknown { what: &'static str, pointer: &'static str },
    /// The proposal and `change_selected_campaign_to` name different campaigns.
    CampaignMismatch,
    /// The change acts on the selected campaign and none is selected.
    NoSelectedCampaign,
    /// The campaign takes no new proposals.
    CampaignClosed,
    /// This deployment requires guards, and the change carries none.
    GuardRequired,
    /// A guard does not hold: other terms are in force.
    TermsChanged { current: Contract },
    /// There is no contract to change.
    NoProposal,
    /// The contract's state does not allow the change.
    IllegalChange { code: &'static str, current: Option<Contract> },
    /// The file is attached to a message already.
    AttachmentUsed,
    /// The id names a file with other bytes.
    AttachmentConflict,
    /// The user has too many bytes in files that no message holds.
    UnattachedQuota,
    /// A campaign never moves to another company.
    CompanyFixed,
    /// The user is the creator in a room of that company.
    IsCounterparty,
    /// The operation with this index in a batch was refused, and with it the whole batch.
    Operation { index: usize, refusal: Box<Refusal> },
}

impl Refusal {
    /// What programs switch on; never changes.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::UnknownUser => "unknown_user",
            Self::Deactivated => "deactivated",
            Self::NotFound => "not_found",
            Self::KeyReused => "idempotency_key_reused",
            Self::FromUserMismatch => "from_user_mismatch",
            Self::NotYourCompany => "not_your_company",
            Self::SameSide => "same_side",
            Self::WrongSide => "wrong_side",
            Self::Unknown { what, .. } => what,
            Self::CampaignMismatch => "campaign_mismatch",
            Self::NoSelectedCampaign => "no_selected_campaign",
            Self::CampaignClosed => "campaign_closed",
            Self::GuardRequired => "guard_required",
            Self::TermsChanged { .. } => "terms_changed",
            Self::NoProposal => "no_proposal",
            Self::IllegalChange { code, .. } => code,
            Self::AttachmentUsed => "attachment_used",
            Self::AttachmentConflict => "attachment_conflict",
            Self::UnattachedQuota => "unattached_quota",
            Self::CompanyFixed => "company_fixed",
            Self::IsCounterparty => "is_counterparty",
            Self::Operation { refusal, .. } => refusal.code(),
        }
    }

    /// The contract in force, where the refusal is about one.
    #[must_use]
    pub fn contract(&self) -> Option<Contract> {
        match self {
            Self::TermsChanged { current } => Some(*current),
            Self::IllegalChange { current, .. } => *current,
            _ => None,
        }
    }
}
