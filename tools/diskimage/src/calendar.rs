//! Converts Unix timestamps to dates.

/// A date and time in UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Moment {
    pub year: i64,
    pub month: i64,
    pub day: i64,
    pub hour: i64,
    pub minute: i64,
    pub second: i64,
}

/// The date and time of the Unix timestamp `epoch`.
pub(crate) fn moment(epoch: i64) -> Moment {
    // Days to a proleptic Gregorian date, in eras of 400 years that start in March.
    let days = epoch.div_euclid(86400) + 719_468;
    let (era, day_of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let clock = epoch.rem_euclid(86400);
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    Moment { year, month, day, hour: clock / 3600, minute: clock / 60 % 60, second: clock % 60 }
}
