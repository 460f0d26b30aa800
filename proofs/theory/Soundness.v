(** What [check] accepts is true.

    Of any two runs of the network that begin from arbitrary values of a region's input, its output differs by at most [bound]
    times what the input differs by: from l2 to l2, or in every single entry. This holds whatever the biases and the parameters of
    activations are, and whatever the evidence was. It says nothing of how the graph was read from a file. *)

From Coq Require Import Arith ZArith QArith Qreals List Bool Lia Reals Lra Psatz.
From Lipverify Require Import Sums Vectors Maps Norms Certificate Runs Bounds Blocks.
Import ListNotations.
Open Scope R_scope.

Local Notation norm := Vectors.norm.

Section Derivation.
  Variables (I : interpretation) (g : graph) (facts : list (Certificate.norm * bool)) (pairs : list (nat * nat)).
  Variables (begin : nat) (env env' : nat -> vec).
  Hypothesis first_run : run I g begin env.
  Hypothesis second_run : run I g begin env'.
  Hypothesis facts_hold : forall n, In (n, true) facts -> norm_holds g n = true.
  Hypothesis pairs_hold : forall p, In p pairs -> adjoint_holds g (fst p) (snd p) = true.

  Let in_norm := in_norm g begin env env'.
  Let in_entries := in_entries g begin env env'.

  (** Every bound that was derived so far is true. *)
  Definition valid (s : state) : Prop :=
    (forall v u, In (v, u) (fst s) -> in_norm v u) /\ (forall v u, In (v, u) (snd s) -> in_entries v u).

  Lemma valid_l2 holds v u s t :
    valid s -> (holds = true -> in_norm v u) -> in_l2 holds v u s = Some t -> valid t.
  Proof.
    intros [first second] new found. unfold in_l2 in found. destruct holds; [|discriminate]. injection found as <-.
    split; [|exact second]. intros w c [same|inside]; [injection same as <- <-; auto | apply first, inside].
  Qed.

  Lemma valid_each holds v u s t :
    valid s -> (holds = true -> in_entries v u) -> in_each holds v u s = Some t -> valid t.
  Proof.
    intros [first second] new found. unfold in_each in found. destruct holds; [|discriminate]. injection found as <-.
    split; [exact first|]. intros w c [same|inside]; [injection same as <- <-; auto | apply second, inside].
  Qed.

  Lemma fact_holds i n : fact facts i = Some n -> norm_holds g n = true.
  Proof.
    unfold fact. destruct (nth_error facts i) as [[m [|]]|] eqn:here; try discriminate. intros same.
    injection same as <-. apply facts_hold. apply nth_error_In with i. exact here.
  Qed.

  Lemma product_real s b u : Qle_bool (s * (b * b)) (u * u) = true -> Q2R s * (Q2R b * Q2R b) <= Q2R u * Q2R u.
  Proof. intros holds. apply Qle_real in holds. rewrite !Q2R_mult in holds. exact holds. Qed.

  Lemma affine_valid v l r i u s t :
    node_at g v = Some (Node (Linear l) [r]) -> v <> begin -> 0 <= Q2R u -> valid s ->
    match fact facts i with
    | Some n =>
        if negb ((value n =? v) && (columns l =? size g r)) then None else
        match shown_by n, known r (fst s), known r (snd s), l with
        | Some _, Some b, _, _ => in_l2 (Qle_bool (squared n * (b * b)) (u * u)) v u s
        | None, Some b, _, _ => in_each (Qle_bool (squared n * (b * b)) (u * u)) v u s
        | Some _, None, Some b, Copying _ _ _ => in_each (Qle_bool b u) v u s
        | _, _, _, _ => None
        end
    | None => None
    end = Some t -> valid t.
  Proof.
    intros here other Hu all found. destruct (fact facts i) as [n|] eqn:given; [|discriminate].
    apply fact_holds in given. destruct ((value n =? v) && (columns l =? size g r)) eqn:fits; [|discriminate].
    apply andb_prop in fits as [own fits]. apply Nat.eqb_eq in own, fits. cbn [negb] in found.
    unfold norm_holds in given. rewrite own, here in given.
    destruct (shown_by n) as [e|]; destruct (known r (fst s)) as [b|] eqn:at_r.
    - apply known_in, all in at_r. apply (valid_l2 _ _ _ _ _ all) in found; [exact found|].
      intros enough. apply product_real in enough.
      apply (affine_sound I g begin env env' first_run second_run v l r (squared n) e b u); assumption.
    - destruct (known r (snd s)) as [c|] eqn:at_r'; [|discriminate].
      destruct l as [| |out inner source| | |]; try discriminate.
      apply known_in, all in at_r'. apply (valid_each _ _ _ _ _ all) in found; [exact found|].
      intros enough. apply Qle_real in enough.
      apply (copying_sound I g begin env env' first_run second_run v out inner source r c u); assumption.
    - apply known_in, all in at_r. apply (valid_each _ _ _ _ _ all) in found; [exact found|].
      intros enough. apply product_real in enough.
      apply (rows_sound I g begin env env' first_run second_run v l r (squared n) b u); assumption.
    - destruct (known r (snd s)); discriminate.
  Qed.

  Lemma pointwise_valid v sigma low high n r u s t :
    node_at g v = Some (Node (Pointwise sigma low high n) [r]) -> v <> begin -> 0 <= Q2R u -> valid s ->
    (if negb ((n =? size g r) && Qle_bool low (fst (known_slopes sigma)) && Qle_bool (snd (known_slopes sigma)) high)
     then None else
     match known r (fst s), known r (snd s) with
     | Some b, _ => in_l2 (Qle_bool (steepest low high * b) u) v u s
     | None, Some b => in_each (Qle_bool (steepest low high * b) u) v u s
     | None, None => None
     end) = Some t -> valid t.
  Proof.
    intros here other Hu all found.
    destruct ((n =? size g r) && _ && _) eqn:fits; [|discriminate]. cbn [negb] in found.
    apply andb_prop in fits as [fits above]. apply andb_prop in fits as [fits below]. apply Nat.eqb_eq in fits.
    destruct (known r (fst s)) as [b|] eqn:at_r; [|destruct (known r (snd s)) as [b|] eqn:at_r'; [|discriminate]].
    - apply known_in, all in at_r. apply (valid_l2 _ _ _ _ _ all) in found; [exact found|].
      intros enough. apply Qle_real in enough. rewrite Q2R_mult in enough.
      apply (pointwise_sound I g begin env env' first_run second_run v sigma low high n r b u); assumption.
    - apply known_in, all in at_r'. apply (valid_each _ _ _ _ _ all) in found; [exact found|].
      intros enough. apply Qle_real in enough. rewrite Q2R_mult in enough.
      apply (pointwise_entries_sound I g begin env env' first_run second_run v sigma low high n r b u); assumption.
  Qed.

  Lemma sum_valid v signs n vs b u s :
    node_at g v = Some (Node (Certificate.Sum signs n) vs) -> v <> begin -> valid s ->
    known_sum g n vs (fst s) = Some b -> 0 <= Q2R u -> Q2R b <= Q2R u -> in_norm v u.
  Proof.
    intros here other [all _] found Hu enough. split; [exact Hu|].
    rewrite (size_made g v _ _ here). cbn [made].
    destruct (signed_sum_bound g begin env env' n (fst s) vs all signs b found) as [_ known_bound].
    rewrite (norm_ext _ _ (signed_sum signs (List.map (difference env env') vs)))
      by (intros i inside; apply (diff_sum I g begin env env' first_run second_run v signs n vs i here other inside)).
    eapply Rle_trans; [exact known_bound|]. apply Rmult_le_compat_r; [apply norm_nonneg | exact enough].
  Qed.

  Lemma block_valid v plus plus' n a b m skip branch sign u s :
    node_at g v = Some (Node (Certificate.Sum [plus; plus'] n) [a; b]) -> v <> begin -> valid s -> 0 <= Q2R u ->
    norm_holds g m = true ->
    (plus = true /\ skip = a /\ branch = b /\ sign = plus' \/ plus' = true /\ skip = b /\ branch = a /\ sign = plus) ->
    match block_constant g pairs begin m skip branch sign, known skip (fst s) with
    | Some k, Some c => (n =? size g skip) && (size g branch =? n) && Qle_bool (k * c) u
    | _, _ => false
    end = true -> in_norm v u.
  Proof.
    intros here other [all _] Hu given which found.
    destruct (block_constant g pairs begin m skip branch sign) as [k|] eqn:constant; [|discriminate].
    destruct (known skip (fst s)) as [c|] eqn:at_skip; [|discriminate]. apply known_in, all in at_skip.
    apply andb_prop in found as [found enough]. apply andb_prop in found as [own sizes].
    apply Nat.eqb_eq in own, sizes. apply Qle_real in enough. rewrite Q2R_mult in enough.
    destruct (block_sound I g begin env env' first_run second_run pairs m skip branch sign k pairs_hold given constant)
      as [Hk known_bound]; [congruence|].
    destruct at_skip as [Hc at_skip]. split; [exact Hu|]. rewrite (size_made g v _ _ here). cbn [made].
    rewrite (norm_ext _ _ (vplus (difference env env' skip) (vscal (if sign then 1 else -1) (difference env env' branch)))).
    - rewrite own. eapply Rle_trans; [exact known_bound|].
      pose proof (norm_nonneg (size g begin) (difference env env' begin)).
      apply Rle_trans with (Q2R k * (Q2R c * norm (size g begin) (difference env env' begin)));
        [apply Rmult_le_compat_l; assumption | nra].
    - intros i inside. rewrite (diff_sum I g begin env env' first_run second_run v _ n _ i here other inside).
      unfold vplus, vscal. cbn [List.map signed_sum].
      destruct which as [(-> & -> & -> & ->)|(-> & -> & -> & ->)]; [destruct plus' | destruct plus]; ring.
  Qed.

  Ltac no_rule signs rs found :=
    destruct signs as [|? [|? [|]]]; destruct rs as [|? [|? [|]]]; discriminate found.

  Theorem take_valid p s t : valid s -> take g facts pairs begin p s = Some t -> valid t.
  Proof.
    intros all found. unfold take in found.
    destruct ((to p =? begin) || negb (Qle_bool 0 (upper p))) eqn:usable; [discriminate|].
    apply orb_false_iff in usable as [other Hu]. apply Nat.eqb_neq in other. apply negb_false_iff, Qle_zero in Hu.
    destruct (node_at g (to p)) as [[m rs]|] eqn:here; [|discriminate].
    destruct m as [l|sigma low high n|signs n|n].
    - destruct rs as [|r [|]]; try discriminate. destruct (rule_of p) as [i|i| |]; try discriminate.
      apply (affine_valid _ _ _ _ _ _ _ here other Hu all found).
    - destruct rs as [|r [|]]; try discriminate. destruct (rule_of p) as [i|i| |]; try discriminate.
      apply (pointwise_valid _ _ _ _ _ _ _ _ _ here other Hu all found).
    - destruct (rule_of p) as [i|i| |]; [no_rule signs rs found | | no_rule signs rs found |].
      + destruct signs as [|plus [|plus' [|]]]; try discriminate.
        destruct rs as [|a [|b [|]]]; try discriminate.
        destruct (fact facts i) as [m|] eqn:given; [|discriminate]. apply fact_holds in given.
        apply (valid_l2 _ _ _ _ _ all) in found; [exact found|]. intros either.
        apply orb_prop in either as [one|one]; apply andb_prop in one as [positive one].
        * apply (block_valid _ plus plus' n a b m a b plus' _ s here other all Hu given); [tauto | exact one].
        * apply (block_valid _ plus plus' n a b m b a plus _ s here other all Hu given); [tauto | exact one].
      + assert (match known_sum g n rs (fst s) with
          | Some b => in_l2 ((length signs =? length rs) && Qle_bool b (upper p)) (to p) (upper p) s
          | None => None end = Some t) as sum_found.
        { destruct signs as [|? [|? [|]]]; destruct rs as [|? [|? [|]]]; exact found. }
        clear found. destruct (known_sum g n rs (fst s)) as [b|] eqn:given; [|discriminate].
        apply (valid_l2 _ _ _ _ _ all) in sum_found; [exact sum_found|]. intros enough.
        apply andb_prop in enough as [_ enough]. apply Qle_real in enough.
        apply (sum_valid _ _ _ _ b _ s here other all given Hu enough).
    - destruct rs as [|r [|]]; destruct (rule_of p); discriminate.
  Qed.

  Lemma take_all_valid ps s t : valid s -> take_all g facts pairs begin ps s = Some t -> valid t.
  Proof.
    revert s. induction ps as [|p ps IH]; intros s all found; cbn [take_all] in found.
    - injection found as <-. exact all.
    - destruct (take g facts pairs begin p s) as [r|] eqn:one; [|discriminate].
      apply (IH r); [|exact found]. apply (take_valid p s); assumption.
  Qed.
End Derivation.

(** ** The whole *)

(** Whatever the region's input, its output is this much further away at most. *)
Definition region_true (I : interpretation) (g : graph) (r : region) : Prop :=
  forall env env', run I g (start r) env -> run I g (start r) env' ->
    let gap v := norm (size g v) (vminus (env v) (env' v)) in
    if each r
    then forall i, (i < size g (stop r))%nat -> Rabs (env (stop r) i - env' (stop r) i) <= Q2R (bound r) * gap (start r)
    else gap (stop r) <= Q2R (bound r) * gap (start r).

Theorem region_sound I g facts pairs r :
  (forall n, In (n, true) facts -> norm_holds g n = true) ->
  (forall p, In p pairs -> adjoint_holds g (fst p) (snd p) = true) ->
  region_holds g facts pairs r = true -> region_true I g r.
Proof.
  intros facts_hold pairs_hold holds env env' one two gap. unfold region_holds in holds.
  destruct (take_all g facts pairs (start r) (steps r) _) as [[l2 linf]|] eqn:derived; [|discriminate].
  assert (valid g (start r) env env' (l2, linf)) as [all all'].
  { apply (take_all_valid I g facts pairs (start r) env env' one two facts_hold pairs_hold (steps r)
      ([(start r, 1%Q)], [])); [|exact derived].
    split; [|intros v u []]. intros v u [same|[]]. injection same as <- <-. split; rewrite Q2R_one; lra. }
  pose proof (norm_nonneg (size g (start r)) (difference env env' (start r))) as positive.
  assert (forall b, Qle_bool b (bound r) = true ->
    Q2R b * norm (size g (start r)) (difference env env' (start r)) <= Q2R (bound r) * gap (start r)) as enough.
  { intros b below. apply Qle_real in below. apply Rmult_le_compat_r; assumption. }
  destruct (each r).
  - intros i inside. destruct (known (stop r) linf) as [b|] eqn:at_stop.
    + apply known_in, all' in at_stop as [_ at_stop]. eapply Rle_trans; [apply (at_stop i inside) | apply enough, holds].
    + destruct (known (stop r) l2) as [b|] eqn:at_stop'; [|discriminate].
      apply known_in, all in at_stop' as [_ at_stop']. eapply Rle_trans; [|apply enough, holds].
      eapply Rle_trans; [|exact at_stop']. apply (entry_norm _ (difference env env' (stop r))). exact inside.
  - destruct (known (stop r) l2) as [b|] eqn:at_stop; [|discriminate].
    apply known_in, all in at_stop as [_ at_stop]. eapply Rle_trans; [exact at_stop | apply enough, holds].
Qed.

(** The extracted [check]: a region that it calls true is true, for every interpretation. *)
Theorem check_sound I g norms pairs regions i r :
  nth_error regions i = Some r -> nth_error (snd (check g norms pairs regions)) i = Some true -> region_true I g r.
Proof.
  unfold check. cbn [snd]. intros here holds. rewrite nth_error_map, here in holds. cbn in holds.
  injection holds as holds. revert holds. apply region_sound.
  - intros n inside. apply in_map_iff in inside as (m & same & _). injection same as -> holds. exact holds.
  - intros p inside. apply filter_In in inside as [_ holds]. exact holds.
Qed.
