/// Words of policies and locations: what is read prints as something that reads the same; what is refused
/// says where.
#include "dray/hints.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count);

static void require(bool holds)
{
    if (!holds)
        abort();
}

static void policy_round(const char *text)
{
    dray_hint_policy policy, again;
    dray_error error = {.message = ""};
    char words[DRAY_HINT_TEXT_BYTES];
    if (dray_hint_policy_parse(text, &policy, &error) != DRAY_OK) {
        require(error.status == DRAY_E_FORMAT && error.message[0]);
        require(error.offset <= strlen(text));
        return;
    }
    require(dray_hint_policy_check(&policy, NULL) == DRAY_OK);
    require(strlen(dray_hint_policy_print(&policy, words)) + 1 < sizeof(words));
    require(dray_hint_policy_parse(words, &again, NULL) == DRAY_OK);
    require(dray_hint_policy_equal(&policy, &again));
    dray_hint_advice advice[DRAY_HINT_ADVICE_MAX];
    require(dray_hint_policy_advice(&policy, advice) <= DRAY_HINT_ADVICE_MAX);
}

static void location_round(const char *text)
{
    dray_hint_location location, again;
    char words[DRAY_HINT_TEXT_BYTES];
    if (dray_hint_location_parse(text, &location, NULL) != DRAY_OK)
        return;
    require(strcmp(dray_hint_location_print(location, words), text) == 0); // one way to say it
    require(dray_hint_location_parse(words, &again, NULL) == DRAY_OK);
    require(location.place == again.place && location.index == again.index);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count)
{
    char *text = malloc(count + 1);
    if (!text)
        return 0;
    if (count)
        memcpy(text, bytes, count);
    text[count] = 0;
    policy_round(text);
    location_round(text);
    free(text);
    return 0;
}
