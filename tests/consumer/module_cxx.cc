// A user's module in C++11: functions in namespaces, an object with a destructor inside the call.
#include <dray/export.h>

#include <stdexcept>
#include <string>

namespace user
{
namespace
{

int add_one(void *, const dray_any *arguments, int32_t count, dray_any *result)
{
    int64_t value;
    if (count != 1 || !dray_any_get_int(&arguments[0], &value))
        return dray_raise("TypeError", "add_one wants one int");
    try {
        std::string text(static_cast<std::size_t>(value), '+');
        if (text.size() == 13)
            throw std::runtime_error("thirteen brings bad luck");
        *result = dray_any_int(static_cast<int64_t>(text.size()) + 1);
        return 0;
    } catch (const std::exception &error) {
        return dray_raise("RuntimeError", error.what());
    }
}

} // namespace
} // namespace user

DRAY_MODULE_EXPORT(add_one, user::add_one)
DRAY_MODULE_DOC(add_one, "the int that follows")
