//! Who plays in the tests.

use serde_json::json;
use uuid::Uuid;

use super::Actor;

/// A fixed id, readable in failures.
pub fn id(last: u32) -> Uuid {
    Uuid::from_u128(0x0199_c0de_0000_7000_8000_0000_0000_0000 + u128::from(last))
}

/// Two companies with employees and campaigns, and two creators.
pub struct Cast {
    pub north: Uuid,
    pub lumen: Uuid,
    /// Of Northwind, open.
    pub spring: Uuid,
    /// Of Northwind, open.
    pub autumn: Uuid,
    /// Of Lumen, open.
    pub studio: Uuid,
    /// Employee of Northwind.
    pub nora: Actor,
    /// Employee of Northwind.
    pub ben: Actor,
    /// Employee of Lumen.
    pub luca: Actor,
    /// Creator.
    pub ada: Actor,
    /// Creator.
    pub kofi: Actor,
    /// The host application.
    pub service: Actor,
}

impl Cast {
    /// Puts them into the directory.
    pub async fn introduce(service: Actor, actor: impl Fn(Uuid) -> Actor) -> Self {
        let (north, lumen, spring, autumn, studio) = (id(0xc1), id(0xc2), id(0xca1), id(0xca2), id(0xca3));
        let (nora, ben, luca, ada, kofi) = (id(0xe1), id(0xe2), id(0xe3), id(0xa1), id(0xa2));
        let user = |id: Uuid, name: &str, company: Option<Uuid>| {
            let mut user =
                json!({"type": "put_user", "id": id, "given_name": name, "family_name": "T", "logo_url": ""});
            if let Some(company) = company {
                user["company_id"] = json!(company);
            }
            user
        };
        let batch = json!({"operations": [
            {"type": "put_company", "id": north, "name": "Northwind", "logo_url": ""},
            {"type": "put_company", "id": lumen, "name": "Lumen", "logo_url": ""},
            {"type": "put_campaign", "id": spring, "company_id": north, "name": "Spring", "open": true},
            {"type": "put_campaign", "id": autumn, "company_id": north, "name": "Autumn", "open": true},
            {"type": "put_campaign", "id": studio, "company_id": lumen, "name": "Studio", "open": true},
            user(nora, "Nora", Some(north)),
            user(ben, "Ben", Some(north)),
            user(luca, "Luca", Some(lumen)),
            user(ada, "Ada", None),
            user(kofi, "Kofi", None),
        ]});
        service.post("/v1/directory/batch", &batch).await.expect(200);
        Self {
            north,
            lumen,
            spring,
            autumn,
            studio,
            nora: actor(nora),
            ben: actor(ben),
            luca: actor(luca),
            ada: actor(ada),
            kofi: actor(kofi),
            service,
        }
    }
}
