//! The contract: a state machine as a pure value.
//!
//! One contract exists per room and campaign. [`Contract::after`] is the whole table: from which state which side
//! may make which change, and what is answered otherwise. Nothing else in Haggle moves a contract.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{CampaignId, Number, Payout, Refusal, UserId, Version};

/// Which of a room's two sides somebody is on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Side {
    /// An employee of the room's company.
    Company,
    /// The room's creator.
    Creator,
}

/// Where a contract stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ContractState {
    /// The company has named its terms.
    Proposed,
    /// The creator has agreed to them.
    Accepted,
    /// The company took its proposal back.
    Withdrawn,
    /// The creator declined, or stepped back after agreeing.
    Cancelled,
    /// The creator says the work is done.
    Finished,
    /// The company agrees that it is; nothing changes any more.
    Approved,
}

/// What somebody does to a contract, without guards.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// The company names (new) terms for a campaign.
    Propose { campaign_id: CampaignId, payout: Payout },
    /// The creator agrees.
    Accept,
    /// The company takes its proposal back.
    Withdraw,
    /// The creator declines or steps back.
    Cancel,
    /// The creator says the work is done.
    Finish,
    /// The company agrees that it is.
    Approve,
}

impl Step {
    /// The only side that may make this change.
    #[must_use]
    pub fn side(self) -> Side {
        match self {
            Self::Propose { .. } | Self::Withdraw | Self::Approve => Side::Company,
            Self::Accept | Self::Cancel | Self::Finish => Side::Creator,
        }
    }
}

/// What the sender believes is in force; anything else refuses the change (promise 9).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Guards {
    /// The version the sender has seen; 0 means "there is no contract yet".
    pub version: Option<Version>,
    /// The payout the sender has seen.
    pub payout: Option<Payout>,
}

/// A change with its guards, as a message asks for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Change {
    /// What is done.
    pub step: Step,
    /// What must be in force for it.
    pub guards: Guards,
}

/// The contract of one room and campaign.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Contract {
    /// The campaign it is about.
    pub campaign_id: CampaignId,
    /// Where it stands.
    pub state: ContractState,
    /// The terms in force, in cents.
    pub payout: Payout,
    /// Counts every change, from 1; send it back as `expected_version`.
    pub version: Version,
    /// Who made the latest change.
    pub changed_by: UserId,
    /// The number of the message that made it.
    pub changed_in: Number,
    /// Whether it was cancelled before it had been accepted; absent otherwise.
    #[serde(default, skip_serializing_if = "is_false")]
    #[schema(required = false)]
    pub declined: bool,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_false(value: &bool) -> bool {
    !value
}

impl Contract {
    /// The contract after `change` by `by` in message `number`, or why it is refused.
    ///
    /// `current` is what is in force; the sender's side and the campaign have been checked.
    ///
    /// # Errors
    /// The cell of the table, with the current contract, or `terms_changed` if a guard does not hold.
    pub fn after(
        current: Option<Self>,
        campaign_id: CampaignId,
        change: Change,
        by: UserId,
        number: Number,
    ) -> Result<Self, Refusal> {
        use ContractState as S;
        check_guards(current, change)?;
        let state = match (current.map(|c| c.state), change.step) {
            (None | Some(S::Proposed | S::Withdrawn | S::Cancelled), Step::Propose { .. }) => S::Proposed,
            (Some(S::Proposed), Step::Accept) => S::Accepted,
            (Some(S::Proposed), Step::Withdraw) => S::Withdrawn,
            (Some(S::Proposed | S::Accepted), Step::Cancel) => S::Cancelled,
            (Some(S::Accepted), Step::Finish) => S::Finished,
            (Some(S::Finished), Step::Approve) => S::Approved,
            (None, _) => return Err(Refusal::NoProposal),
            (Some(state), step) => {
                return Err(Refusal::IllegalChange { code: refused(state, step), current });
            }
        };
        let payout = match (change.step, current) {
            (Step::Propose { payout, .. }, _) => payout,
            (_, Some(current)) => current.payout,
            (_, None) => return Err(Refusal::NoProposal),
        };
        Ok(Self {
            campaign_id,
            state,
            payout,
            version: current.map_or(Version::ZERO, |c| c.version).next(),
            changed_by: by,
            changed_in: number,
            declined: state == S::Cancelled && current.is_some_and(|c| c.state == S::Proposed),
        })
    }
}

fn check_guards(current: Option<Contract>, change: Change) -> Result<(), Refusal> {
    let Some(contract) = current else {
        // Nothing to be stale about: whoever expected a contract is told there is none.
        let expects_one = change.guards.version.is_some_and(|v| v > Version::ZERO);
        return if expects_one { Err(Refusal::NoProposal) } else { Ok(()) };
    };
    let version_holds = change.guards.version.is_none_or(|v| v == contract.version);
    let payout_holds = change.guards.payout.is_none_or(|p| p == contract.payout);
    if version_holds && payout_holds { Ok(()) } else { Err(Refusal::TermsChanged { current: contract }) }
}

/// The code for a refused cell of the table: what stands in the way.
fn refused(state: ContractState, step: Step) -> &'static str {
    match (state, step) {
        (ContractState::Proposed, Step::Finish) => "not_accepted",
        (ContractState::Proposed | ContractState::Accepted, Step::Approve) => "not_finished",
        (ContractState::Proposed, _) => "no_proposal",
        (ContractState::Accepted, _) => "already_accepted",
        (ContractState::Finished, _) => "already_finished",
        (ContractState::Approved, _) => "closed",
        (ContractState::Withdrawn, _) => "withdrawn",
        (ContractState::Cancelled, _) => "cancelled",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    const STATES: [Option<ContractState>; 7] = [
        None,
        Some(ContractState::Proposed),
        Some(ContractState::Accepted),
        Some(ContractState::Finished),
        Some(ContractState::Approved),
        Some(ContractState::Withdrawn),
        Some(ContractState::Cancelled),
    ];

    fn campaign() -> CampaignId {
        CampaignId(Uuid::from_u128(7))
    }

    fn steps() -> [Step; 6] {
        [
            Step::Propose { campaign_id: campaign(), payout: Payout::try_from(200).unwrap() },
            Step::Accept,
            Step::Withdraw,
            Step::Cancel,
            Step::Finish,
            Step::Approve,
        ]
    }

    fn standing(state: ContractState) -> Contract {
        Contract {
            campaign_id: campaign(),
            state,
            payout: Payout::try_from(100).unwrap(),
            version: Version::try_from(3).unwrap(),
            changed_by: UserId(Uuid::from_u128(1)),
            changed_in: Number::try_from(5).unwrap(),
            declined: false,
        }
    }

    fn cell(state: Option<ContractState>, step: Step, guards: Guards) -> Result<Contract, Refusal> {
        let by = UserId(Uuid::from_u128(2));
        let number = Number::try_from(6).unwrap();
        Contract::after(state.map(standing), campaign(), Change { step, guards }, by, number)
    }

    /// The table of the wire contract, row by row.
    #[test]
    fn the_table() {
        let rows = STATES.map(|state| {
            let cells = steps().map(|step| match cell(state, step, Guards::default()) {
                Ok(contract) => format!("{:?}", contract.state),
                Err(refusal) => refusal.code().to_owned(),
            });
            format!("{:<10} {}", state.map_or("None".to_owned(), |s| format!("{s:?}")), cells.join(" "))
        });
        insta::assert_snapshot!(rows.join("\n"), @r"
        None       Proposed no_proposal no_proposal no_proposal no_proposal no_proposal
        Proposed   Proposed Accepted Withdrawn Cancelled not_accepted not_finished
        Accepted   already_accepted already_accepted already_accepted Cancelled Finished not_finished
        Finished   already_finished already_finished already_finished already_finished already_finished Approved
        Approved   closed closed closed closed closed closed
        Withdrawn  Proposed withdrawn withdrawn withdrawn withdrawn withdrawn
        Cancelled  Proposed cancelled cancelled cancelled cancelled cancelled
        ");
    }

    #[test]
    fn every_change_counts_and_keeps_the_terms() {
        let accepted = cell(Some(ContractState::Proposed), Step::Accept, Guards::default()).unwrap();
        assert_eq!(accepted.version.get(), 4);
        assert_eq!(accepted.payout.get(), 100);
        assert_eq!(accepted.changed_in.get(), 6);
        let revised = cell(Some(ContractState::Proposed), steps()[0], Guards::default()).unwrap();
        assert_eq!((revised.version.get(), revised.payout.get()), (4, 200));
    }

    #[test]
    fn only_a_cancelled_proposal_was_declined() {
        assert!(cell(Some(ContractState::Proposed), Step::Cancel, Guards::default()).unwrap().declined);
        assert!(!cell(Some(ContractState::Accepted), Step::Cancel, Guards::default()).unwrap().declined);
    }

    #[test]
    fn a_guard_that_does_not_hold_comes_before_the_state() {
        let stale = Guards { version: Some(Version::try_from(2).unwrap()), payout: None };
        let other = Guards { version: None, payout: Some(Payout::try_from(99).unwrap()) };
        for state in STATES.into_iter().flatten() {
            for step in steps() {
                assert_eq!(cell(Some(state), step, stale).unwrap_err().code(), "terms_changed");
                assert_eq!(cell(Some(state), step, other).unwrap_err().code(), "terms_changed");
            }
        }
        assert_eq!(cell(None, Step::Accept, stale).unwrap_err().code(), "no_proposal");
    }

    #[test]
    fn guards_that_hold_let_the_change_through() {
        let guards =
            Guards { version: Some(Version::try_from(3).unwrap()), payout: Some(Payout::try_from(100).unwrap()) };
        assert!(cell(Some(ContractState::Proposed), Step::Accept, guards).is_ok());
        let none_yet = Guards { version: Some(Version::ZERO), payout: None };
        assert!(cell(None, steps()[0], none_yet).is_ok());
    }
}
