/* The linter: what loading a rule set also looks for when it is asked to (ruleset_options.lint). Only warnings come of
 * it. Private to loading: sigma/rules.c, attributes.c and filter.c call these while they read a document. */
#ifndef ISOD_SIGMA_LINT_H
#define ISOD_SIGMA_LINT_H

#include "sigma/loader.h"

/* The document's attributes: against the specification, and with LINT_CONVENTIONS against SigmaHQ's. */
void lint_document(struct loader *l, const struct yaml_node *doc, enum document_kind kind);

/* The condition of a detection: whether it can hold, whether it always does, and which of its parts cannot matter.
 * `node`: where it is written. */
void lint_condition(struct loader *l, const struct yaml_node *node,
                    const struct selection *selections, size_t count,
                    const struct condition *condition);

/* A rule that is good: whether another one detects the same, and whether its log source is known. */
void lint_rule(struct loader *l, const struct yaml_node *doc, const struct rule *rule);

/* A filter's condition: whether it excludes anything, which is what filters are for. `node`: where it is written. */
void lint_filter(struct loader *l, const struct yaml_node *node, const struct condition *condition);

struct linter;
struct linter *linter_new(void);
void linter_free(struct linter *l);

#endif
