//! `haggle demo`: two companies, three creators, campaigns and a negotiation in full swing, on a data folder that is
//! thrown away. Loopback only.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use haggle::app::App;
use haggle::auth::{mint, mint_service};
use haggle::config::{Config, Place, Settings, TokenKeys};
use haggle::domain::{
    CampaignId, Change, Command, CompanyId, CreateRoom, Direction, DirectoryOperation, Draft, Fingerprint, Guards,
    MessageId, Payout, Receipt, RoomId, SendMessage, Step, UserId,
};
use uuid::Uuid;

use super::serve::{start_log, stop_on_signal};
use super::{CLOCK, Failed, say};

/// How long the printed tokens are good.
const TOKEN_LIFE: Duration = Duration::from_hours(24);

const fn id(last: u16) -> Uuid {
    Uuid::from_u128(0x0199_c0de_0000_7000_8000_0000_0000_0000 + last as u128)
}

const NORTHWIND: CompanyId = CompanyId(id(0xc001));
const LUMEN: CompanyId = CompanyId(id(0xc002));
const SPRING: CampaignId = CampaignId(id(0xca01));
const AUTUMN: CampaignId = CampaignId(id(0xca02));
const STUDIO: CampaignId = CampaignId(id(0xca03));
const NORA: UserId = UserId(id(0xe001));
const BEN: UserId = UserId(id(0xe002));
const LUCA: UserId = UserId(id(0xe003));
const ADA: UserId = UserId(id(0xa001));
const KOFI: UserId = UserId(id(0xa002));
const MEI: UserId = UserId(id(0xa003));

/// The companies and their names.
const COMPANIES: [(CompanyId, &str); 2] = [(NORTHWIND, "Northwind"), (LUMEN, "Lumen Studio")];

/// Everyone, with the company they work for.
const PEOPLE: [(UserId, &str, &str, Option<CompanyId>); 6] = [
    (NORA, "Nora", "Lind", Some(NORTHWIND)),
    (BEN, "Ben", "Osei", Some(NORTHWIND)),
    (LUCA, "Luca", "Moretti", Some(LUMEN)),
    (ADA, "Ada", "Okafor", None),
    (KOFI, "Kofi", "Mensah", None),
    (MEI, "Mei", "Tanaka", None),
];

/// Serves the demo until told to stop.
pub async fn demo(port: u16) -> Result<(), Failed> {
    start_log("warn", "text")?;
    let folder = Folder::make()?;
    let config = config(&folder.0, port)?;
    let app = App::start(config, CLOCK).await?;
    let listener = haggle::http::listen(app.config.listen)
        .map_err(|error| format!("{}: {error} (--port 0 takes a free one)", app.config.listen))?;
    let room = negotiate(&app).await?;
    say(&greeting(&app, &format!("http://{}", listener.local_addr()?), room));
    let shutdown = stop_on_signal()?;
    haggle::http::serve(app, listener, None, shutdown).await;
    Ok(())
}

/// A data folder that goes with the demo.
struct Folder(PathBuf);

impl Folder {
    fn make() -> Result<Self, Failed> {
        let path = std::env::temp_dir().join(format!("haggle-demo-{}", CLOCK.random_id().simple()));
        std::fs::create_dir(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        Ok(Self(path))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// The defaults, whatever the environment says, and no more than this machine.
fn config(folder: &std::path::Path, port: u16) -> Result<Config, Failed> {
    let settings = Settings::defaults();
    let listen = ([127, 0, 0, 1], port).into();
    let place = Place { data_dir: folder.to_owned(), ..settings.place };
    Ok(Config { demo: true, ..Settings { listen, place, ..settings }.resolve()? })
}

fn text(content: &str, change: Option<Step>) -> Result<Draft, Failed> {
    Ok(Draft {
        content: content.to_owned().try_into()?,
        change: change.map(|step| Change { step, guards: Guards::default() }),
        file: None,
        switch_to: None,
    })
}

fn propose(campaign_id: CampaignId, cents: i64) -> Result<Option<Step>, Failed> {
    Ok(Some(Step::Propose { campaign_id, payout: Payout::try_from(cents)? }))
}

/// The directory, and a few conversations: one proposal waits for its answer, one contract is approved.
async fn negotiate(app: &App) -> Result<RoomId, Failed> {
    submit(app, Command::Directory(directory()?)).await?;
    elsewhere(app).await?;
    let open = Direction::UserToCompany { company_id: NORTHWIND };
    let room =
        create(app, ADA, open, text("Hi! I loved the spring line. Are you looking for creators?", None)?).await?;
    send(app, room, NORA, text("We are! Two videos and a story, live by 1 March.", None)?).await?;
    send(app, room, NORA, text("Here is what we have in mind.", propose(SPRING, 90_000)?)?).await?;
    send(app, room, ADA, text("The scope is fine. For two videos I would need 1,250.", None)?).await?;
    send(app, room, BEN, text("That works for us. Nora, please update it.", None)?).await?;
    send(app, room, NORA, text("Done: 1,250 it is.", propose(SPRING, 125_000)?)?).await?;

    let open = Direction::CompanyToUser { company_id: LUMEN, to_user_id: KOFI };
    let lumen = create(app, LUCA, open, text("Kofi, one studio day in April?", propose(STUDIO, 60_000)?)?).await?;
    for (who, what, step) in [
        (KOFI, "Happy to. Accepted.", Step::Accept),
        (KOFI, "All shot and delivered.", Step::Finish),
        (LUCA, "Beautiful work. Approved!", Step::Approve),
    ] {
        send(app, lumen, who, text(what, Some(step))?).await?;
    }
    Ok(room)
}

/// What else the people of the first conversation have going on.
async fn elsewhere(app: &App) -> Result<(), Failed> {
    let open = Direction::CompanyToUser { company_id: LUMEN, to_user_id: ADA };
    let studio = create(app, LUCA, open, text("A day in our studio, Ada?", propose(STUDIO, 48_000)?)?).await?;
    send(app, studio, ADA, text("With pleasure.", Some(Step::Accept))?).await?;
    send(app, studio, LUCA, text("Wonderful. The call sheet follows on Friday.", None)?).await?;

    let open = Direction::UserToCompany { company_id: NORTHWIND };
    let autumn = create(app, KOFI, open, text("Hello! I shoot knitwear, and autumn light is my thing.", None)?).await?;
    send(app, autumn, BEN, text("Four photos for the lookbook?", propose(AUTUMN, 72_000)?)?).await?;
    send(app, autumn, KOFI, text("That is too tight for me this month, sorry.", Some(Step::Cancel))?).await?;
    let open = Direction::CompanyToUser { company_id: NORTHWIND, to_user_id: MEI };
    let mei =
        create(app, NORA, open, text("Mei, your tea film was lovely. Spring?", propose(SPRING, 80_000)?)?).await?;
    send(app, mei, MEI, text("Thank you! Deal.", Some(Step::Accept))?).await?;
    send(app, mei, MEI, text("Both videos are live.", Some(Step::Finish))?).await
}

fn directory() -> Result<Vec<DirectoryOperation>, Failed> {
    let name = |name: &str| name.to_owned().try_into();
    let mut operations = Vec::new();
    for (id, called) in COMPANIES {
        operations.push(DirectoryOperation::PutCompany {
            id,
            name: name(called)?,
            logo_url: String::new().try_into()?,
        });
    }
    for (id, company_id, called) in
        [(SPRING, NORTHWIND, "Spring launch"), (AUTUMN, NORTHWIND, "Autumn lookbook"), (STUDIO, LUMEN, "Studio days")]
    {
        operations.push(DirectoryOperation::PutCampaign { id, company_id, name: name(called)?, open: true });
    }
    for (id, given, family, company_id) in PEOPLE {
        operations.push(DirectoryOperation::PutUser {
            id,
            given_name: name(given)?,
            family_name: name(family)?,
            logo_url: String::new().try_into()?,
            company_id,
        });
    }
    Ok(operations)
}

async fn submit(app: &App, command: Command) -> Result<Receipt, Failed> {
    app.writer.submit(command).await.map_err(|error| error.problem().detail.into())
}

async fn create(app: &App, caller: UserId, direction: Direction, draft: Draft) -> Result<RoomId, Failed> {
    let room_id = RoomId(app.clock.new_id());
    let (key, fingerprint) = (MessageId(app.clock.new_id()), Fingerprint::default());
    let create = CreateRoom { caller, direction, room_id, key, fingerprint, from_user_id: None, draft };
    submit(app, Command::CreateRoom(create)).await?;
    Ok(room_id)
}

async fn send(app: &App, room_id: RoomId, caller: UserId, draft: Draft) -> Result<(), Failed> {
    let (key, fingerprint) = (MessageId(app.clock.new_id()), Fingerprint::default());
    let send = SendMessage { caller, room_id, key, fingerprint, from_user_id: None, draft };
    submit(app, Command::SendMessage(send)).await.map(|_| ())
}

fn greeting(app: &Arc<App>, url: &str, room: RoomId) -> String {
    let TokenKeys::Secret(secret) = &app.config.tokens.keys else { return String::new() };
    let now = app.clock.now();
    let token = |user| mint(secret, user, TOKEN_LIFE, now, None, None);
    let people: Vec<String> = PEOPLE
        .iter()
        .map(|(id, given, family, company)| {
            let employer = COMPANIES.iter().find(|(id, _)| Some(*id) == *company);
            let role = employer.map_or("creator", |(_, name)| name);
            format!("{given} {family} ({role})\n  {}", token(*id))
        })
        .collect();
    let (ada, nora) = (token(ADA), token(NORA));
    let service = mint_service(secret, TOKEN_LIFE, now, None, None);
    format!(
        "Haggle demo: {url}\nEverything is thrown away when it stops (Ctrl-C).\n\n{people}\n\
         Host application (service)\n  {service}\n\n\
         # Ada's rooms, newest message first\n\
         curl -s {url}/v1/rooms -H 'Authorization: Bearer {ada}'\n\n\
         # Ada's event stream: leave it open in a second terminal\n\
         curl -N {url}/v1/events -H 'Authorization: Bearer {ada}'\n\n\
         # Nora writes to Ada\n\
         curl -s {url}/v1/rooms/{room}/messages -H 'Authorization: Bearer {nora}' -H 'Content-Type: application/json' \
         -d '{{\"content\":\"What do you say, Ada?\"}}'\n\n\
         # Ada accepts the terms she has seen: version 2, 1,250.00 {currency}\n\
         curl -s {url}/v1/rooms/{room}/messages -H 'Authorization: Bearer {ada}' -H 'Content-Type: application/json' \
         -d '{{\"content\":\"Deal!\",\"contract_change\":{{\"type\":\"accepted_by_creator\",\"expected_version\":2,\
         \"expected_payout\":125000}}}}'\n",
        people = people.join("\n"),
        currency = app.config.currency,
    )
}
