/**
 * What Haggle says, as far as the page uses it. `openapi/openapi.json` is the whole; scripts/check-web compares these
 * types with those generated from it.
 */

export type ActivityState = "online" | "away" | "offline";
export type Side = "company" | "creator";
export type ContractState = "proposed" | "accepted" | "withdrawn" | "cancelled" | "finished" | "approved";

export interface Company {
  id: string;
  name: string;
  logo_url: string;
}

export interface UserInfo {
  id: string;
  given_name: string;
  family_name: string;
  logo_url: string;
  status: ActivityState;
  company?: Company;
}

export interface Contract {
  campaign_id: string;
  state: ContractState;
  payout: number;
  version: number;
  changed_by: string;
  changed_in: number;
  declined?: boolean;
}

export type ContractChange =
  | { type: "proposed_by_company"; campaign_id: string; payout: number }
  | { type: "accepted_by_creator" }
  | { type: "withdrawn_by_company" }
  | { type: "cancelled_by_creator" }
  | { type: "finished_by_creator" }
  | { type: "approved_by_company" };

export type ContractChangeInput =
  | { type: "proposed_by_company"; campaign_id: string; payout: number; expected_version?: number }
  | { type: "accepted_by_creator"; expected_version?: number; expected_payout?: number }
  | { type: "withdrawn_by_company"; expected_version?: number }
  | { type: "cancelled_by_creator"; expected_version?: number }
  | { type: "finished_by_creator"; expected_version?: number }
  | { type: "approved_by_company"; expected_version?: number };

export interface Attachment {
  id: string;
  name: string;
  link: string;
  content_type: string;
  size: number;
}

interface AnyMessage {
  id: number;
  message_id: string;
  content: string;
  contract_change?: ContractChange;
  attachment?: Attachment;
  change_selected_campaign_to?: string;
  timestamp: string;
  side: Side;
}
export interface Message extends AnyMessage {
  from_user: string;
}
export interface MessageWithSender extends AnyMessage {
  from_user: UserInfo;
}

export interface Room {
  id: string;
  users: UserInfo[];
  users_total: number;
  company: Company;
  creator_id: string;
  selected_campaign_id?: string;
  contract?: Contract;
  last_message: Message;
  new_messages: number;
}

export interface Rooms {
  rooms: Room[];
  new_messages_total: number;
  position: string;
  next?: string;
}

export interface DetailedRoom {
  id: string;
  users: UserInfo[];
  users_total: number;
  company: Company;
  creator_id: string;
  messages: Message[];
  has_more: boolean;
  new_messages: number;
  last_seen: { user_id: string; seen_till: number }[];
  selected_campaign_id?: string;
  contracts: Contract[];
  position: string;
}

export interface ServerConfig {
  currency: string;
  version: string;
  max_content_characters: number;
  max_base64_attachment_bytes: number;
  max_attachment_bytes: number;
  heartbeat_seconds: number;
  typing_lease_seconds: number;
  guards_required: boolean;
}

export interface Problem {
  type: string;
  title: string;
  status: number;
  detail: string;
  code: string;
  errors?: { pointer: string; detail: string }[];
  contract?: Contract;
  request_id: string;
}

export type ResyncReason =
  | "unknown_cursor" | "other_epoch" | "future_cursor" | "trimmed" | "too_far_behind" | "membership_changed";
export type GoodbyeReason =
  | "token_expired" | "access_changed" | "too_slow" | "too_many_streams" | "rotated" | "shutting_down";

export type StreamEvent =
  | { type: "hello"; connection_id: string; user_id?: string; position: string; resumed: boolean;
      heartbeat_seconds: number }
  | { type: "room_created_with_you"; room_id: string; message: MessageWithSender; selected_campaign_id?: string;
      contract?: Contract; users: UserInfo[]; company: Company; creator_id: string }
  | { type: "new_message"; room_id: string; message: MessageWithSender; contract?: Contract }
  | { type: "new_last_view"; room_id: string; user_id: string; message_id: number }
  | { type: "presence"; online: string[]; away: string[]; typing: { room_id: string; user_id: string }[] }
  | { type: "activity_change"; user_id: string; activity_state: ActivityState }
  | { type: "typing_change"; room_id: string; user_id: string; currently_typing: boolean }
  | { type: "heartbeat" }
  | { type: "resync"; reason: ResyncReason }
  | { type: "goodbye"; reason: GoodbyeReason };
