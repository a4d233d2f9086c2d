"""Which region holds which territory: the one part of the CLDR's supplemental data that Babel leaves out.

    001 world > 150 Europe > 155 Western Europe > FR

Codes are those of UN M49 (regions) and ISO 3166 (territories). Source: Unicode CLDR, `territoryContainment` of the
supplemental data (https://cldr.unicode.org; Unicode License V3), without deprecated codes and without groupings that
only repeat other rows; "EU" and "UN" are memberships.
"""

from __future__ import annotations

from collections.abc import Mapping

__all__ = ["MEMBERS", "REGIONS"]

REGIONS: Mapping[str, tuple[str, ...]] = {
    region: tuple(codes.split())
    for region, codes in {
        "001": "002 009 019 142 150",
        "002": "011 014 015 017 018",
        "005": "AR BO BR BV CL CO EC FK GF GS GY PE PY SR UY VE",
        "009": "053 054 057 061 QO",
        "011": "BF BJ CI CV GH GM GN GW LR ML MR NE NG SH SL SN TG",
        "013": "BZ CR GT HN MX NI PA SV",
        "014": "BI DJ ER ET IO KE KM MG MU MW MZ RE RW SC SO SS TF TZ UG YT ZM ZW",
        "015": "DZ EA EG EH IC LY MA SD TN",
        "017": "AO CD CF CG CM GA GQ ST TD",
        "018": "BW LS NA SZ ZA",
        "019": "005 013 021 029",
        "021": "BM CA GL PM US",
        "029": "AG AI AW BB BL BQ BS CU CW DM DO GD GP HT JM KN KY LC MF MQ MS PR SX TC TT VC VG VI",
        "030": "CN HK JP KP KR MN MO TW",
        "034": "AF BD BT IN IR LK MV NP PK",
        "035": "BN ID KH LA MM MY PH SG TH TL VN",
        "039": "AD AL BA ES GI GR HR IT ME MK MT PT RS SI SM VA XK",
        "053": "AU CC CX HM NF NZ",
        "054": "FJ NC PG SB VU",
        "057": "FM GU KI MH MP NR PW UM",
        "061": "AS CK NU PF PN TK TO TV WF WS",
        "142": "030 034 035 143 145",
        "143": "KG KZ TJ TM UZ",
        "145": "AE AM AZ BH CY GE IL IQ JO KW LB OM PS QA SA SY TR YE",
        "150": "039 151 154 155",
        "151": "BG BY CZ HU MD PL RO RU SK UA",
        "154": "AX DK EE FI FO GB GG IE IM IS JE LT LV NO SE SJ",
        "155": "AT BE CH DE FR LI LU MC NL",
        "QO": "AC AQ CP DG TA",
    }.items()
}

MEMBERS: Mapping[str, tuple[str, ...]] = {
    union: tuple(codes.split())
    for union, codes in {
        "EU": "AT BE BG CY CZ DE DK EE ES FI FR GR HR HU IE IT LT LU LV MT NL PL PT RO SE SI SK",
        "UN": "AD AE AF AG AL AM AO AR AT AU AZ BA BB BD BE BF BG BH BI BJ BN BO BR BS BT BW BY BZ CA CD CF CG CH CI "
        "CL CM CN CO CR CU CV CY CZ DE DJ DK DM DO DZ EC EE EG ER ES ET FI FJ FM FR GA GB GD GE GH GM GN GQ GR GT GW "
        "GY HN HR HT HU ID IE IL IN IQ IR IS IT JM JO JP KE KG KH KI KM KN KP KR KW KZ LA LB LC LI LK LR LS LT LU LV "
        "LY MA MC MD ME MG MH MK ML MM MN MR MT MU MV MW MX MY MZ NA NE NG NI NL NO NP NR NZ OM PA PE PG PH PK PL PT "
        "PW PY QA RO RS RU RW SA SB SC SD SE SG SI SK SL SM SN SO SR SS ST SV SY SZ TD TG TH TJ TL TM TN TO TR TT TV "
        "TZ UA UG US UY UZ VC VE VN VU WS YE ZA ZM ZW",
    }.items()
}
