//! Which processes declare schedules in their code, and so which releases of an application are
//! live.

use shiftwork_adapter::{
    Announcement, AppName, ReleaseId, Releases, Result, ScheduleId, Timestamp,
};

use crate::envelope::millis;
use crate::reply::Reply;
use crate::script;
use crate::store::Store;

impl Store {
    pub(crate) async fn announce(&self, announced: Announcement) -> Result<Releases> {
        let operation = "announce";
        self.check_open(operation)?;
        let Announcement { app, process, release, declares, lasts, .. } = announced;
        let ids: Vec<_> = declares.iter().map(ScheduleId::as_str).collect();
        let mut cmd = script::DECLARE.call_on(&self.names.releases);
        cmd.arg(app.as_str())
            .arg(process)
            .arg(release.to_string())
            .arg(millis(lasts))
            .arg(ids.join(" "))
            .arg(&self.names.schedules);
        let mut reply = Reply::new(operation, self.call_home(operation, &cmd).await?);
        let now = Timestamp::from_millis(reply.int()?);
        let ruling = reply.text()?;
        let Some(ruling) = ReleaseId::parse(&ruling) else { return Err(reply.unknown(&ruling)) };
        let is_new = reply.int()? == 1;
        let live = usize::try_from(reply.int()?).unwrap_or(usize::MAX);
        let declared = reply.rest(Reply::text)?;
        let declared = declared.into_iter().filter_map(|id| ScheduleId::new(id).ok()).collect();
        let mut releases = Releases::new(now, ruling, live, declared);
        releases.is_new = is_new;
        Ok(releases)
    }

    pub(crate) async fn withdraw(&self, app: &AppName, process: &str) -> Result<()> {
        let operation = "withdraw";
        self.check_open(operation)?;
        let mut cmd = script::WITHDRAW.call_on(&self.names.releases);
        cmd.arg(app.as_str()).arg(process).arg(&self.names.schedules);
        self.call_home(operation, &cmd).await.map(drop)
    }
}
