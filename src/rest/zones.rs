//! Names of time zones that the IANA has given up, and what Elasticsearch advises instead of each.

/// What to use instead of a zone whose name is deprecated.
pub(super) fn modern_name(old: &str) -> Option<&'static str> {
    let at = DEPRECATED.binary_search_by_key(&old, |(name, _)| name).ok()?;
    Some(DEPRECATED[at].1)
}

/// As of Elasticsearch 7.17, in the order of the names.
#[rustfmt::skip]
const DEPRECATED: &[(&str, &str)] = &[
    ("Africa/Asmera", "Africa/Nairobi"), ("Africa/Timbuktu", "Africa/Abidjan"),
    ("America/Argentina/ComodRivadavia", "America/Argentina/Catamarca"), ("America/Atka", "America/Adak"),
    ("America/Buenos_Aires", "America/Argentina/Buenos_Aires"), ("America/Catamarca", "America/Argentina/Catamarca"),
    ("America/Coral_Harbour", "America/Atikokan"), ("America/Cordoba", "America/Argentina/Cordoba"),
    ("America/Ensenada", "America/Tijuana"), ("America/Fort_Wayne", "America/Indiana/Indianapolis"),
    ("America/Indianapolis", "America/Indiana/Indianapolis"), ("America/Jujuy", "America/Argentina/Jujuy"),
    ("America/Knox_IN", "America/Indiana/Knox"), ("America/Louisville", "America/Kentucky/Louisville"),
    ("America/Mendoza", "America/Argentina/Mendoza"), ("America/Montreal", "America/Toronto"),
    ("America/Porto_Acre", "America/Rio_Branco"), ("America/Rosario", "America/Argentina/Cordoba"),
    ("America/Santa_Isabel", "America/Tijuana"), ("America/Shiprock", "America/Denver"),
    ("America/Virgin", "America/Port_of_Spain"), ("Antarctica/South_Pole", "Pacific/Auckland"),
    ("Asia/Ashkhabad", "Asia/Ashgabat"), ("Asia/Calcutta", "Asia/Kolkata"), ("Asia/Chongqing", "Asia/Shanghai"),
    ("Asia/Chungking", "Asia/Shanghai"), ("Asia/Dacca", "Asia/Dhaka"), ("Asia/Harbin", "Asia/Shanghai"),
    ("Asia/Kashgar", "Asia/Urumqi"), ("Asia/Katmandu", "Asia/Kathmandu"), ("Asia/Macao", "Asia/Macau"),
    ("Asia/Rangoon", "Asia/Yangon"), ("Asia/Saigon", "Asia/Ho_Chi_Minh"), ("Asia/Tel_Aviv", "Asia/Jerusalem"),
    ("Asia/Thimbu", "Asia/Thimphu"), ("Asia/Ujung_Pandang", "Asia/Makassar"), ("Asia/Ulan_Bator", "Asia/Ulaanbaatar"),
    ("Atlantic/Faeroe", "Atlantic/Faroe"), ("Atlantic/Jan_Mayen", "Europe/Oslo"),
    ("Australia/ACT", "Australia/Sydney"), ("Australia/Canberra", "Australia/Sydney"),
    ("Australia/LHI", "Australia/Lord_Howe"), ("Australia/NSW", "Australia/Sydney"),
    ("Australia/North", "Australia/Darwin"), ("Australia/Queensland", "Australia/Brisbane"),
    ("Australia/South", "Australia/Adelaide"), ("Australia/Tasmania", "Australia/Hobart"),
    ("Australia/Victoria", "Australia/Melbourne"), ("Australia/West", "Australia/Perth"),
    ("Australia/Yancowinna", "Australia/Broken_Hill"), ("Brazil/Acre", "America/Rio_Branco"),
    ("Brazil/DeNoronha", "America/Noronha"), ("Brazil/East", "America/Sao_Paulo"), ("Brazil/West", "America/Manaus"),
    ("Canada/Atlantic", "America/Halifax"), ("Canada/Central", "America/Winnipeg"),
    ("Canada/East-Saskatchewan", "America/Regina"), ("Canada/Eastern", "America/Toronto"),
    ("Canada/Mountain", "America/Edmonton"), ("Canada/Newfoundland", "America/St_Johns"),
    ("Canada/Pacific", "America/Vancouver"), ("Canada/Yukon", "America/Whitehorse"),
    ("Chile/Continental", "America/Santiago"), ("Chile/EasterIsland", "Pacific/Easter"), ("Cuba", "America/Havana"),
    ("Egypt", "Africa/Cairo"), ("Eire", "Europe/Dublin"), ("Europe/Belfast", "Europe/London"),
    ("Europe/Tiraspol", "Europe/Chisinau"), ("GB", "Europe/London"), ("GB-Eire", "Europe/London"),
    ("Greenwich", "Etc/GMT"), ("Hongkong", "Asia/Hong_Kong"), ("Iceland", "Atlantic/Reykjavik"),
    ("Iran", "Asia/Tehran"), ("Israel", "Asia/Jerusalem"), ("Jamaica", "America/Jamaica"), ("Japan", "Asia/Tokyo"),
    ("Kwajalein", "Pacific/Kwajalein"), ("Libya", "Africa/Tripoli"), ("Mexico/BajaNorte", "America/Tijuana"),
    ("Mexico/BajaSur", "America/Mazatlan"), ("Mexico/General", "America/Mexico_City"), ("NZ", "Pacific/Auckland"),
    ("NZ-CHAT", "Pacific/Chatham"), ("Navajo", "America/Denver"), ("PRC", "Asia/Shanghai"),
    ("Pacific/Johnston", "Pacific/Honolulu"), ("Pacific/Ponape", "Pacific/Pohnpei"),
    ("Pacific/Samoa", "Pacific/Pago_Pago"), ("Pacific/Truk", "Pacific/Chuuk"), ("Pacific/Yap", "Pacific/Chuuk"),
    ("Poland", "Europe/Warsaw"), ("Portugal", "Europe/Lisbon"), ("ROC", "Asia/Taipei"), ("ROK", "Asia/Seoul"),
    ("Singapore", "Asia/Singapore"), ("Turkey", "Europe/Istanbul"), ("UCT", "Etc/UCT"),
    ("US/Alaska", "America/Anchorage"), ("US/Aleutian", "America/Adak"), ("US/Arizona", "America/Phoenix"),
    ("US/Central", "America/Chicago"), ("US/East-Indiana", "America/Indiana/Indianapolis"),
    ("US/Eastern", "America/New_York"), ("US/Hawaii", "Pacific/Honolulu"),
    ("US/Indiana-Starke", "America/Indiana/Knox"), ("US/Michigan", "America/Detroit"),
    ("US/Mountain", "America/Denver"), ("US/Pacific", "America/Los_Angeles"), ("US/Samoa", "Pacific/Pago_Pago"),
    ("Universal", "Etc/UTC"), ("W-SU", "Europe/Moscow"), ("Zulu", "Etc/UTC"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deprecated_names_are_found() {
        assert!(DEPRECATED.is_sorted_by_key(|(name, _)| *name));
        assert_eq!(modern_name("Canada/Mountain"), Some("America/Edmonton"));
        assert_eq!(modern_name("Europe/Paris"), None);
    }
}
