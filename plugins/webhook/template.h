/* The body of a webhook: text in which {{field}} stands for a member of the alert, escaped for the inside of a JSON
 * string, and {{json}} for the whole incident as a JSON object. The fields are a table (template.c; plugins/README.md
 * tells their meaning). A name that is not in it is an error when the template is read, not when an alert is due. */
#ifndef ISOD_PLUGINS_WEBHOOK_TEMPLATE_H
#define ISOD_PLUGINS_WEBHOOK_TEMPLATE_H

#include "base/buf.h"
#include "plugin.pb-c.h"

#define TEMPLATE_MAX ((size_t)64 << 10)

struct template;

/* What is sent when the options name no template. */
extern const char template_default[];

/* Copies what it needs of `text`. 0 and *ret, or -EINVAL with the reason, its line and the field in `error`. */
int template_new(struct str text, struct template **ret, char *error, size_t size);
/* NULL is allowed. */
void template_free(struct template *t);

/* Appends the text for this alert, whose incident is set. 0 or -ENOBUFS. */
int template_render(const struct template *t, const Isod__V1__PluginAlert *a, struct buf *out);

#endif
